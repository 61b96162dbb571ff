"""What is final: the database itself refuses to change it, whoever asks, but for who may alter its schema."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_KEPT = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}


def forbid_change(connection: Connection, table: str) -> None:
    """Put the triggers in place; called by the migration that creates ``table``."""
    if connection.dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            connection.execute(
                sa.text(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
            )
        return
    connection.execute(
        sa.text(
            f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
        )
    )
    connection.execute(
        sa.text(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
        )
    )


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
