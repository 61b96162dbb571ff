"""``mycert db``: migrations of both databases, and whether they are where they should be."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

import api.journey
from api.cli.output import Found, answer, settings
from api.settings import Settings
from issuer.registry import grants, migrate
from issuer.registry.database import Database

JOURNEY_SCRIPTS = Path(api.journey.__file__).parent / "migrations"


def databases(configured: Settings) -> list[tuple[Database, Path, grants.Grants]]:
    return [
        (Database(configured.database.registry, channel="registry"), migrate.SCRIPTS, grants.REGISTRY),
        (Database(configured.database.journey, channel="journey"), JOURNEY_SCRIPTS, grants.JOURNEY),
    ]


def upgrade_all(configured: Settings) -> None:
    """Bring both to the newest revision, and on PostgreSQL give each role its rights again."""
    for database, scripts, rights in databases(configured):
        with closing(database):
            migrate.upgrade(database, scripts)
            if not database.is_sqlite:
                with database.write() as connection:
                    grants.apply(connection, database.channel, rights)


@click.group()
def db() -> None:
    """The databases' schemas."""


@db.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_context
def upgrade(context: click.Context, dry_run: bool) -> None:
    """Migrate both databases to the newest revision."""
    configured = settings(context, "owner")
    states = _states(configured)
    if not dry_run:
        upgrade_all(configured)
    changed = "would be upgraded" if dry_run else "upgraded"
    told = {name: "current" if current else changed for name, current in states.items()}
    answer(context, told, "\n".join(f"{name}: {what}" for name, what in told.items()))


@db.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Whether both databases answer and are at the newest revision. Exit status 1 where not."""
    configured = settings(context, "owner")
    states = _states(configured)
    missing = set[str]()
    for database, _, rights in databases(configured):
        with closing(database):
            if not database.is_sqlite:
                with database.read() as connection:
                    missing.update(grants.missing_roles(connection, rights))
    told = {
        **{name: "current" if current else "not at the newest revision" for name, current in states.items()},
        **({"missing_roles": sorted(missing)} if missing else {}),
    }
    answer(context, told, "\n".join(f"{name}: {what}" for name, what in told.items()))
    if missing or not all(states.values()):
        raise Found("the databases are not in order")


def _states(configured: Settings) -> dict[str, bool]:
    """Whether each is at the newest revision. SQLite would make a file by being asked, so it is not asked."""
    states = {}
    for database, scripts, _ in databases(configured):
        with closing(database):
            absent = database.is_sqlite and not Path(database.url.database or "").exists()
            states[database.channel] = not absent and migrate.is_current(database, scripts)
    return states
