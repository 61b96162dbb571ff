"""What the commands share: settings, answers as text or JSON, and which error is which exit status."""

from __future__ import annotations

from typing import Any

import click
import httpx
import msgspec
from sqlalchemy.exc import SQLAlchemyError

from api.addresses import SocketRefused
from api.cli import FOUND, UNREACHABLE, WRONG_USE
from api.demo.config import DemoDisabled
from api.problems import RemoteProblem, problem_of
from api.reach import ReachRefused
from api.settings import Settings, SettingsRefused, load
from issuer.ceremony.script import CeremonyRefused
from issuer.errors import CaUnavailable, IssuerError
from issuer.faults import FaultsRefused
from issuer.identity.errors import IdentityConfigRefused
from issuer.secrets import HsmError, SecretFileRefused, TokenUnavailable
from policies.errors import PolicyRefusal

_REFUSALS = (
    SettingsRefused,
    SecretFileRefused,
    DemoDisabled,
    HsmError,
    IssuerError,
    PolicyRefusal,
    CeremonyRefused,
    RemoteProblem,
    FileExistsError,
    SocketRefused,
    ReachRefused,
    FaultsRefused,
    IdentityConfigRefused,
)


class Found(Exception):
    """A check found something; it has been printed."""


def settings(context: click.Context, process: str = "cli") -> Settings:
    return load(process=process, config=context.find_root().obj["config"])


def answer(context: click.Context, value: Any, text: str) -> None:
    """Print ``value`` as JSON where ``--json`` was given, else ``text``."""
    if context.find_root().obj["json"]:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
    else:
        click.echo(text)


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Aligned columns, for people; "–" for what is empty."""
    if not rows:
        return "nothing"
    lines = [columns, *[[_cell(row.get(name)) for name in columns] for row in rows]]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def listing(fields: dict[str, Any]) -> str:
    """A line a field, for people."""
    width = max(map(len, fields))
    return "\n".join(f"{name.ljust(width)}  {_cell(value)}" for name, value in fields.items())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def exit_status(error: BaseException) -> int | None:
    """None for an error that is nobody's use or reach, but ours."""
    if isinstance(error, Found):
        return FOUND
    if isinstance(error, RemoteProblem) and problem_of(error).status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return UNREACHABLE
    if isinstance(error, TokenUnavailable | CaUnavailable | SQLAlchemyError):
        return UNREACHABLE
    if isinstance(error, _REFUSALS):
        return WRONG_USE
    return UNREACHABLE if isinstance(error, OSError) else None
