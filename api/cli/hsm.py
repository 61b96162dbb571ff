"""``mycert hsm``: the tokens and their keys. PINs come from the configured files, never from arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from api.cli.output import Found, answer, settings, table
from api.cli.tokens import configured_tokens, give_back, open_token, pin_of
from api.settings import Settings
from issuer.secrets import HsmError, Secret, TokenConfig, TokenExists
from issuer.tokens import Token, initialise_token


@click.group()
def hsm() -> None:
    """The hardware tokens (SoftHSM where nothing else is configured)."""


@hsm.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Open every token and say what is on it. Exit status 1 where one does not open."""
    configured = settings(context)
    rows = [_status(configured, name, config) for name, config in configured_tokens(configured).items()]
    answer(context, {"tokens": rows}, table(rows, ["token", "label", "state", "keys"]))
    if any(row["state"] != "ready" for row in rows):
        raise Found("a token is not ready")


@hsm.command(name="list")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List the keys of every token with their attributes."""
    rows: list[dict[str, Any]] = []
    configured = settings(context)
    for name in configured_tokens(configured):
        with open_token(configured, name) as token:
            rows += [{"token": name, **_key(report)} for report in token.inventory()]
    answer(context, {"keys": rows}, table(rows, ["token", "label", "type", "sound", "findings"]))


@hsm.command()
@click.pass_context
def check(context: click.Context) -> None:
    """A real signature with every key, verified; and the attributes of each. Exit status 1 for a finding."""
    rows: list[dict[str, Any]] = []
    configured = settings(context)
    for name in configured_tokens(configured):
        try:
            with open_token(configured, name) as token:
                rows += [
                    {"token": name, "label": key.label, "result": _probe(token, key)}
                    for key in token.inventory()
                ]
        except HsmError as error:
            rows.append({"token": name, "label": "–", "result": str(error)})
    answer(context, {"checks": rows}, table(rows, ["token", "label", "result"]))
    if any(row["result"] != "ok" for row in rows):
        raise Found("a key is not in order")


@hsm.command()
@click.argument("tokens", nargs=-1, required=True)
@click.option(
    "--so-pin-folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Holds <token>.so.pin files, mode 0600.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_context
def init(context: click.Context, tokens: tuple[str, ...], so_pin_folder: Path, dry_run: bool) -> None:
    """Initialise TOKENS (root, issuing, status) on free slots, with the PINs in the configured files.

    A token that exists is left alone.
    """
    configured = settings(context)
    known = configured_tokens(configured)
    if unknown := set(tokens) - set(known):
        raise click.UsageError(f"not configured: {', '.join(sorted(unknown))}")
    rows = []
    for name in tokens:
        config = known[name]
        so_pin, user_pin = Secret.from_file(so_pin_folder / f"{name}.so.pin"), pin_of(config)
        rows.append({"token": name, "label": config.label, "done": _init(config, so_pin, user_pin, dry_run)})
    if not dry_run:
        give_back(configured)
    answer(context, {"tokens": rows}, table(rows, ["token", "label", "done"]))


def _init(config: TokenConfig, so_pin: Secret, user_pin: Secret, dry_run: bool) -> str:
    if dry_run:
        return "would be made, unless it exists"
    try:
        return f"made, serial number {initialise_token(config, so_pin, user_pin)}"
    except TokenExists:
        return "exists, left alone"


def _status(configured: Settings, name: str, config: TokenConfig) -> dict[str, Any]:
    row: dict[str, Any] = {"token": name, "label": config.label, "module": config.module}
    try:
        with open_token(configured, name) as token:
            return {**row, "state": "ready", "keys": len(token.inventory())}
    except HsmError as error:
        return {**row, "state": str(error), "keys": None}


def _key(report: Any) -> dict[str, Any]:
    return {
        "label": report.label,
        "type": str(report.key_type),
        "sound": not report.findings,
        "findings": ", ".join(report.findings) or None,
    }


def _probe(token: Token, report: Any) -> str:
    if report.findings:
        return ", ".join(report.findings)
    try:
        token.probe(report.label)
    except HsmError as error:
        return str(error)
    return "ok"
