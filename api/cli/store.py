"""``mycert store``: officers and support look at stores; officers revoke them (R23, R31)."""

from __future__ import annotations

import re

import click
import msgspec

from api.cli.officer import ask_issuer, officer_name
from api.cli.output import answer, listing, table
from api.internal.officer_app import RevokeMessage, StoreRecord, StoreRecords
from policies.lifecycle import StoreStatus
from policies.reasons import RevocationReason

_COLUMNS = ["id", "status", "ehealth_id", "family_name", "serial_number", "not_after", "reason"]
_OFFICERS_REASONS = (RevocationReason.RIGHT_WITHDRAWN, RevocationReason.INCIDENT)


@click.group()
def store() -> None:
    """Stores of professionals; the issuer must be running."""


@store.command(name="list")
@click.option("--ehealth-id")
@click.option("--serial", help="Hexadecimal, with colons or without.")
@click.option("--status", type=click.Choice([status.value for status in StoreStatus]))
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.pass_context
def list_stores(
    context: click.Context, ehealth_id: str | None, serial: str | None, status: str | None, limit: int
) -> None:
    """List stores, newest first."""
    found = ask_issuer(
        context,
        "GET",
        "/stores",
        StoreRecords,
        officer=officer_name(),
        ehealth_id=ehealth_id,
        serial=_plain(serial) if serial else None,
        status=status,
        limit=limit,
    )
    _answer_all(context, found)


@store.command()
@click.argument("store_id")
@click.pass_context
def show(context: click.Context, store_id: str) -> None:
    """Show one store."""
    found = ask_issuer(context, "GET", f"/stores/{store_id}", StoreRecord, officer=officer_name())
    answer(context, found, listing(msgspec.to_builtins(found)))


@store.command()
@click.argument("store_ids", nargs=-1, required=True)
@click.option("--reason", type=click.Choice([reason.value for reason in _OFFICERS_REASONS]), required=True)
@click.option("--dry-run", is_flag=True, help="Say which stores would be revoked.")
@click.pass_context
def revoke(context: click.Context, store_ids: tuple[str, ...], reason: str, dry_run: bool) -> None:
    """Revoke STORE_IDS, all or none. Final."""
    message = RevokeMessage(
        store_ids=list(store_ids),
        reason=RevocationReason(reason),
        officer=officer_name(),
        dry_run=dry_run,
    )
    _answer_all(context, ask_issuer(context, "POST", "/revocations", StoreRecords, message))


def _plain(serial: str) -> str:
    """As the registry has it; the portal and OpenSSL show pairs of digits with colons between."""
    plain = serial.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{1,40}", plain):
        raise click.BadParameter("not a hexadecimal number", param_hint="--serial")
    return plain


def _answer_all(context: click.Context, found: StoreRecords) -> None:
    rows = [msgspec.to_builtins(item) for item in found.items]
    answer(context, found, table(rows, _COLUMNS))
