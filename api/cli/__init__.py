"""``mycert``: what an officer, an operator or the supervisor calls. Commands are loaded when used."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

DONE, FOUND, WRONG_USE, UNREACHABLE = 0, 1, 2, 3

# command: module and attribute; loaded late, so that each process imports only what it runs.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "setup": ("api.cli.setup", "setup"),
    "serve": ("api.cli.serve", "serve"),
    "web": ("api.cli.serve", "web"),
    "issuer": ("api.cli.serve", "issuer"),
    "publisher": ("api.cli.serve", "publisher"),
    "status": ("api.cli.serve", "status"),
    "mailer": ("api.cli.serve", "mailer"),
    "idp": ("api.cli.serve", "idp"),
    "mailbox": ("api.cli.serve", "mailbox"),
    "hsm": ("api.cli.hsm", "hsm"),
    "ceremony": ("api.cli.ceremony", "ceremony"),
    "crl": ("api.cli.crl", "crl"),
    "store": ("api.cli.store", "store"),
    "db": ("api.cli.db", "db"),
    "demo": ("api.cli.demo", "demo"),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file; else MYCERT_CONFIG."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_context
def cli(context: click.Context, config: Path | None, as_json: bool) -> None:
    """The myCert certificate service.

    Exit status: 0 done, 1 the check found something, 2 wrong use, 3 not reachable.
    """
    context.obj = {"config": config, "json": as_json}


def main() -> None:
    from api.cli.output import exit_status

    try:
        result: Any = cli.main(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else DONE)
    except click.exceptions.Abort:
        click.echo("aborted", err=True)
        sys.exit(WRONG_USE)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USE)
    except Exception as error:  # noqa: BLE001 - printed whole
        status = exit_status(error)
        if status is None:
            # By itself Python would end with the status of a check that found something.
            traceback.print_exc()
            sys.exit(os.EX_SOFTWARE)
        click.echo(f"mycert: {error}", err=True)
        sys.exit(status)
