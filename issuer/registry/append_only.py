"""What is final: the database itself refuses to change it, whoever asks, but for who may alter its schema."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_KEPT = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}


def forbid_change(connection: Connection, table: str) -> None:
    """Put the triggers in place; called by the migration that creates ``table``."""
    for verb in ("UPDATE", "DELETE"):
        forbid(connection, table, verb, "TRUE", name=f"no_{verb.lower()}")
    if connection.dialect.name == "postgresql":
        # No process has the right to it (``grants``); this is for whoever owns the schema.
        truncate = f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT"
        connection.execute(sa.text(f"{truncate} EXECUTE FUNCTION {table}_no_delete()"))


def forbid(connection: Connection, table: str, verb: str, condition: str, *, name: str) -> None:
    """Refuse a row's ``verb`` (INSERT, UPDATE or DELETE) under a condition on OLD and NEW."""
    trigger = f"{table}_{name}"
    if connection.dialect.name == "sqlite":
        # SQLite knows the standard's words since 3.39 only; its own mean the same.
        condition = condition.replace("IS DISTINCT FROM", "IS NOT")
        body = f"WHEN {condition} BEGIN SELECT RAISE(ABORT, '{trigger}'); END"
        connection.execute(sa.text(f"CREATE TRIGGER {trigger} BEFORE {verb} ON {table} {body}"))
        return
    body = f"IF {condition} THEN RAISE EXCEPTION '{trigger}'; END IF; RETURN {_KEPT[verb]};"
    connection.execute(
        sa.text(f"CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    )
    connection.execute(
        sa.text(
            f"CREATE TRIGGER {trigger} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION {trigger}()"
        )
    )
