"""Schema migrations by Alembic, run from code: ``mycert db upgrade`` and every test use this."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from issuer.registry.database import Database

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(database: Database, scripts: Path) -> None:
    """Bring the schema to the newest revision; does nothing where it is there already."""
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {database.channel}"))
        command.upgrade(_config(scripts, connection), "head")


def is_current(database: Database, scripts: Path) -> bool:
    with database.read() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    return found == ScriptDirectory.from_config(_config(scripts, None)).get_current_head()


def _config(scripts: Path, connection: sa.Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
