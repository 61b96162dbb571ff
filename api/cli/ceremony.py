"""``mycert ceremony``: keys and certificates of the authorities, from a declarative script (R29)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from api.cli.officer import officer_name
from api.cli.output import answer, settings, table
from api.cli.tokens import configured_tokens, open_token
from api.layout import Layout
from api.settings import Settings
from issuer.ceremony.record import CeremonyRecord
from issuer.ceremony.run import run_ceremony
from issuer.clock import system_clock, system_random


def hold_ceremony(
    configured: Settings,
    source: bytes,
    operators: list[str],
    progress: Callable[[str], None],
    *,
    dry_run: bool = False,
) -> CeremonyRecord:
    """Open every configured token, run the script into ``pki/``. Raises CeremonyRefused, HsmError."""
    with ExitStack() as opened:
        tokens = {
            name: opened.enter_context(open_token(configured, name)) for name in configured_tokens(configured)
        }
        return run_ceremony(
            source,
            tokens,
            configured.pki,
            Layout(configured.home_path).pki,
            system_clock,
            system_random,
            operators,
            progress,
            dry_run,
        )


@click.group()
def ceremony() -> None:
    """Key ceremonies: root, issuing CA, OCSP signer, the root's CRL."""


@ceremony.command()
@click.argument("script", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--operator",
    "operators",
    multiple=True,
    help="Who holds it; once for each person. Where none is given, who is logged in.",
)
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be made.")
@click.pass_context
def run(context: click.Context, script: Path, operators: tuple[str, ...], dry_run: bool) -> None:
    """Make what SCRIPT says; leaves a signed record beside the certificates."""
    record = hold_ceremony(
        settings(context),
        script.read_bytes(),
        list(operators) or [officer_name()],
        lambda line: click.echo(line, err=True),
        dry_run=dry_run,
    )
    rows = [asdict(step) for step in record.steps]
    answer(context, record, table(rows, ["made", "output", "signed_by", "token", "key_label", "sha256"]))
