"""``make docs``: the documents that are made from the code, and compared with it by tests.

``docs/openapi.json`` is what ``/schema/openapi.json`` serves; ``docs/cli.md`` what ``--help`` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import click

from api.cli import cli
from api.health import health_router
from api.web.app import build_web_app
from api.web.openapi import document

DOCS = Path(__file__).parents[1] / "docs"
OPENAPI = DOCS / "openapi.json"
CLI = DOCS / "cli.md"

_WIDTH = 100
_CLI_HEAD = """\
# The command line

Made by `make docs` from what `mycert … --help` says; a test compares them. Global options stand before the
command: `mycert --json store list`. Exit status: 0 done, 1 the check found something, 2 wrong use, 3 not
reachable. PINs come from a file or a prompt, never from arguments.
"""


def openapi() -> str:
    nothing = Mock()
    health = health_router({})
    app = build_web_app(verifier=nothing, cases=nothing, settlements=nothing, budget=nothing, health=health)
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"


def command_line() -> str:
    return _CLI_HEAD + "".join(_sections(cli, ("mycert",), None))


def _sections(command: click.Command, path: tuple[str, ...], parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, parent=parent, info_name=path[-1], max_content_width=_WIDTH)
    context.terminal_width = _WIDTH
    yield f"\n## {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _sections(found, (*path, name), context)


if __name__ == "__main__":
    OPENAPI.write_text(openapi(), encoding="utf-8")
    CLI.write_text(command_line(), encoding="utf-8")
