"""Follow a database without time-outs: SQLite's ``data_version``, PostgreSQL's LISTEN.

A follower sees a commit of another process within ``POLL_SECONDS`` on SQLite (one PRAGMA,
some microseconds each), and at once on PostgreSQL.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import sqlalchemy as sa

from issuer.registry.database import POSTGRESQL_LOST, Database

if TYPE_CHECKING:
    import psycopg

POLL_SECONDS = 0.02
REST_SECONDS = 0.02
"""For followers whose look costs more than a change: what comes in one breath is looked at once.

With the poll it stays below the 50 ms in which a revocation is known."""


def connect(database: Database) -> psycopg.Connection:
    """A PostgreSQL connection outside the pool."""
    import psycopg

    return psycopg.connect(
        database.url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        **POSTGRESQL_LOST,
    )


class Changes:
    """``wait(timeout)`` returns True when somebody committed since the last call, else False.

    One follower belongs to the thread of its ``with`` block, which lets go of the connection;
    ``close()`` may come from any thread and ends a wait.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._closed = threading.Event()
        self._version: int | None = None
        self._connection: sa.PoolProxiedConnection | None = None
        self._listener: psycopg.Connection | None = None
        self._wait: Callable[[float], bool] = (
            self._wait_sqlite if database.is_sqlite else self._wait_postgresql
        )

    def __enter__(self) -> Changes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._drop()

    def close(self) -> None:
        self._closed.set()

    def wait(self, timeout: float) -> bool:
        """Raises what the driver raises where the database is gone; the next call connects again."""
        try:
            return self._wait(timeout)
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        with contextlib.suppress(Exception):
            if self._connection is not None:
                self._connection.close()
            if self._listener is not None:
                self._listener.close()
        self._connection = self._listener = self._version = None

    def _wait_sqlite(self, timeout: float) -> bool:
        if self._connection is None:
            # The driver's own connection, because the engine's begin a transaction, and
            # within one the version that a reader sees stands still.
            self._connection = self._database.engine.raw_connection()
        remaining = timeout
        while True:
            cursor = self._connection.cursor()
            cursor.execute("PRAGMA data_version")
            (version,) = cursor.fetchone() or (None,)
            cursor.close()
            changed = version != self._version
            self._version = version
            if changed or remaining <= 0 or self._closed.wait(min(POLL_SECONDS, remaining)):
                return changed
            remaining -= POLL_SECONDS

    def _wait_postgresql(self, timeout: float) -> bool:
        if self._listener is None:
            self._listener = connect(self._database)
            self._listener.execute(f"LISTEN {self._database.channel}".encode())
            return True
        remaining = timeout
        # Short slices, so that close() is noticed; a notification ends the slice at once.
        while not self._closed.is_set():
            if any(True for _ in self._listener.notifies(timeout=min(0.5, max(remaining, 0)), stop_after=1)):
                for _ in self._listener.notifies(timeout=0):
                    pass
                return True
            remaining -= 0.5
            if remaining <= 0:
                return False
        return False
