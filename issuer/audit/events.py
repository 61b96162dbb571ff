"""Audit events: written in the transaction of what they record, or neither happens (invariant 5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

Detail = str | int | bool | None


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
