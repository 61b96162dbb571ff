"""``mycert setup``: the folders of an installation, its own key, and whose everything is."""

from __future__ import annotations

import click

from api.cli.output import answer, settings
from api.cli.tokens import give_back
from api.layout import Layout
from issuer.clock import system_random
from issuer.durable import write_file


def make_places(layout: Layout) -> None:
    """Folders, and the key of the codes' hashes; keeps what is there."""
    layout.create()
    if not layout.key("code").exists():
        write_file(layout.key("code"), system_random(32).hex().encode(), replace=False, mode=0o600)


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_context
def setup(context: click.Context, dry_run: bool) -> None:
    """Make folders and the key of the codes where they are missing, and give everything its owner.

    Repeat it after whatever root has made: tokens, a ceremony, a migration. It changes nothing else.
    """
    configured = settings(context)
    layout = Layout(configured.home_path)
    told = {
        "home": str(layout.home),
        "code_key": "kept" if layout.key("code").exists() else "would be made" if dry_run else "made",
    }
    if not dry_run:
        make_places(layout)
        missing = give_back(configured)
        told["owners"] = "given" if missing is None else f"as they are: {missing}"
    answer(context, told, "\n".join(f"{name.replace('_', ' ')}: {what}" for name, what in told.items()))
