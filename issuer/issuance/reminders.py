"""Mails before a store expires: in 90, 30, 7 and 1 days, once each whatever restarts (R24).

A unique index holds the once. After a long stop only the nearest reminder goes out, not a backlog.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from issuer.clock import Clock
from issuer.registry import outbox, stores
from issuer.registry.database import Database
from issuer.registry.stores import Store

REMINDER_DAYS: Final = (1, 7, 30, 90)
LOOK_EVERY: Final = timedelta(minutes=1)


class Reminders:
    """Called by the reaper, in its thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._next_look: datetime | None = None

    def round(self) -> int:
        """How many were written to the outbox. At most one look a minute reads the registry."""
        now = self._clock()
        if self._next_look is not None and now < self._next_look:
            return 0
        with self._database.read() as connection:
            due = list(_due(connection, now))
        written = 0
        for store, days in due:
            with self._database.write() as connection:
                written += self._remind(connection, store, days, now)
        self._next_look = now + LOOK_EVERY
        return written

    @staticmethod
    def _remind(connection: Connection, store: Store, days: int, now: datetime) -> bool:
        if store.not_after is None:
            return False
        # What is true when it is written; after a stop that is less than the reminder's number.
        left = str(max(1, -(-int((store.not_after - now).total_seconds()) // 86_400)))
        told = {"not_after": store.not_after.isoformat(), "days": left}
        return outbox.tell_holder(connection, store, "expiring", told, now, reminder=days)


def _due(connection: Connection, now: datetime) -> list[tuple[Store, int]]:
    found = []
    nearer = 0
    for days in REMINDER_DAYS:
        ends = (now + timedelta(days=nearer), now + timedelta(days=days))
        for store in stores.expiring(connection, *ends, unless=outbox.has_reminder(days)):
            # A store that never lived longer than that is not about to surprise anybody.
            begun = store.activated_at
            if begun is not None and store.not_after and begun < store.not_after - timedelta(days=days):
                found.append((store, days))
        nearer = days
    return found
