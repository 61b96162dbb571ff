"""``mycert crl``: an emergency CRL now, and whether what is published is what the registry says."""

from __future__ import annotations

import contextlib

import click

from api.cli.officer import ask_issuer, officer_name
from api.cli.output import Found, answer, settings, table
from api.internal.officer_app import CrlMessage, CrlOrder
from api.layout import Layout
from issuer.clock import system_clock
from issuer.issuance.templates import Issuer
from issuer.publisher.reconcile import compare
from issuer.registry.database import Database


@click.group()
def crl() -> None:
    """Certificate revocation lists."""


@crl.command()
@click.option("--authority", default="issuing", show_default=True)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_context
def issue(context: click.Context, authority: str, dry_run: bool) -> None:
    """Sign a fresh CRL now, through the issuer. (The root's comes from a ceremony.)"""
    order = CrlOrder(officer=officer_name(), dry_run=dry_run)
    issued = ask_issuer(context, "POST", f"/crls/{authority}", CrlMessage, order)
    said = (
        f"would issue a CRL of {authority}"
        if dry_run
        else f"CRL number {issued.number} of {authority} issued"
    )
    answer(context, issued, said)


@crl.command()
@click.pass_context
def verify(context: click.Context) -> None:
    """Compare registry, CRL and OCSP answers. Exit status 1 for a difference."""
    configured = settings(context, "owner")
    issuing = Issuer.of("issuing", Layout(configured.home_path).certificate("issuing"))
    database = Database(configured.database.registry, channel="registry", read_only=True, pool_size=1)
    with contextlib.closing(database), database.read() as connection:
        differences = compare(connection, issuing, system_clock())
    rows = [{"where": one.where, "difference": one.what} for one in differences]
    answer(context, {"differences": rows}, table(rows, ["where", "difference"]) if rows else "no difference")
    if rows:
        raise Found("what is published differs from the registry")
