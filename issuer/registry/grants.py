"""What each process may do in PostgreSQL, table by table: the walls, drawn inside the database.

Applied after every migration by the schema's owner. A role that does not exist is left
out, so that a development database with one role works; ``mycert db check`` names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

Grants = Mapping[str, Mapping[str, Sequence[str]]]
"""role → table → privileges; a privilege may name its columns: ``UPDATE (due_at)``."""

REGISTRY: Grants = {
    "mycert_issuer": {
        "certificates": ["SELECT", "INSERT", "UPDATE (certificate)"],
        "stores": ["SELECT", "INSERT", "UPDATE"],
        "abandonments": ["SELECT", "INSERT"],
        "deliveries": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "revocations": ["SELECT", "INSERT"],
        "crls": ["SELECT", "INSERT", "UPDATE (crl)", "DELETE"],
        "answers": ["SELECT"],
        "audit_events": ["SELECT", "INSERT"],
        "outbox": ["SELECT", "INSERT"],
    },
    "mycert_publisher": {
        "certificates": ["SELECT"],
        "revocations": ["SELECT"],
        "crls": ["SELECT"],
        "answers": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "batches": ["SELECT", "INSERT", "UPDATE"],
    },
    "mycert_mailer": {
        "outbox": ["SELECT", "UPDATE (due_at, attempts, sent_at, refused_at, last_error)"],
    },
    "mycert_web": {
        "stores": ["SELECT"],
        "deliveries": ["SELECT (store_id, deadline, password_fetched_at, keystore_fetched_at)"],
        # For the support: that a notice went or was refused, neither its address nor its words.
        "outbox": ["SELECT (store_id, event, created_at, sent_at, refused_at)"],
    },
    "mycert_status": {
        "crls": ["SELECT"],
        "answers": ["SELECT"],
        "batches": ["SELECT"],
        # So that no good answer outlives a revocation, even where the publisher is down, and that is told.
        "revocations": ["SELECT (serial, authority, sequence, revoked_at, not_after)"],
    },
}

JOURNEY: Grants = {
    "mycert_web": {
        "requests": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "code_sends": ["SELECT", "INSERT", "DELETE"],
        "sessions": ["SELECT", "INSERT", "UPDATE (seen_at)", "DELETE"],
        "journey_events": ["SELECT", "INSERT"],
    },
}


def missing_roles(connection: Connection, grants: Grants) -> list[str]:
    found = set(connection.execute(sa.text("SELECT rolname FROM pg_roles")).scalars())
    return [role for role in grants if role not in found]


def apply(connection: Connection, schema: str, grants: Grants) -> None:
    """Give each existing role exactly what is listed, taking back whatever it had before."""
    absent = set(missing_roles(connection, grants))
    for role, tables in grants.items():
        if role in absent:
            continue
        statements = [
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
            f"GRANT SELECT ON alembic_version TO {role}",
        ]
        statements += [
            f"GRANT {', '.join(privileges)} ON {table} TO {role}" for table, privileges in tables.items()
        ]
        for statement in statements:
            connection.execute(sa.text(statement))
