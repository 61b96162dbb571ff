"""Audit events: written in the transaction of what they record, or neither happens (invariant 5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.database import UtcDateTime

Detail = str | int | bool | None


def events_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """The registry's half of the audit trail or the journey's. Append-only (trigger)."""
    return sa.Table(
        name,
        metadata,
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(48), nullable=False),
        sa.Column("object_id", sa.String(64), nullable=False, index=True),
        sa.Column("ehealth_id", sa.String(32)),
        sa.Column("details", sa.JSON, nullable=False),
    )


def record(
    connection: Connection,
    table: sa.Table,
    *,
    at: datetime,
    actor: str,
    action: str,
    object_id: str,
    ehealth_id: str | None = None,
    details: Mapping[str, Detail] | None = None,
) -> None:
    """Append one event. ``actor`` is ``holder``, ``service``, or ``officer:<name>``."""
    connection.execute(
        table.insert(),
        {
            "at": at,
            "actor": actor,
            "action": action,
            "object_id": object_id,
            "ehealth_id": ehealth_id,
            "details": dict(details or {}),
        },
    )
