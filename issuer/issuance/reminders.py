"""Mails before a store expires: in 90, 30, 7 and 1 days, once each whatever restarts (R24).

A unique index holds the once. After a long stop only the nearest reminder goes out, not a backlog.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from issuer.registry import outbox, stores
from issuer.registry.database import Database
from issuer.registry.stores import Store

REMINDER_DAYS: Final = (1, 7, 30, 90)


def remind(database: Database, now: datetime) -> int:
    """How many were written to the outbox."""
    with database.read() as connection:
        due = _due(connection, now)
    written = 0
    for store, not_after, days in due:
        # What is true when it is written; after a stop that is less than the reminder's number.
        left = str(max(1, -(-int((not_after - now).total_seconds()) // 86_400)))
        told = {"not_after": not_after.isoformat(), "days": left}
        with database.write() as connection:
            written += outbox.tell_holder(connection, store, "expiring", told, now, reminder=days)
    return written


def _due(connection: Connection, now: datetime) -> list[tuple[Store, datetime, int]]:
    found = []
    nearer = 0
    for days in REMINDER_DAYS:
        ends = (now + timedelta(days=nearer), now + timedelta(days=days))
        for store in stores.expiring(connection, *ends, unless=outbox.has_reminder(days)):
            # A store that never lived longer than that is not about to surprise anybody.
            begun, end = store.activated_at, store.not_after
            if begun is not None and end is not None and begun < end - timedelta(days=days):
                found.append((store, end, days))
        nearer = days
    return found
