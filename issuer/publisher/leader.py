"""One publisher publishes, others stand by: a lock that its holder's death releases.

Two at once for a moment would do no harm (numbers and batches keep their order in the
database); the lock keeps them from doing everything twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

import psycopg

from issuer.registry.changes import connect
from issuer.registry.database import Database

_LOCK = 0x6D79_4365_7274  # "myCert"


class Leadership:
    """Belongs to one thread. On SQLite a lock file beside the database, on PostgreSQL an advisory lock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._file: int | None = None
        self._connection: psycopg.Connection | None = None

    def hold(self) -> bool:
        """Take the lock, or see that it is still ours. Raises OSError or psycopg.Error."""
        return self._hold_file() if self._database.is_sqlite else self._hold_advisory()

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._file = self._connection = None

    def _hold_file(self) -> bool:
        if self._file is not None:
            return True
        file = os.open(
            f"{self._database.url.database}-publisher", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def _hold_advisory(self) -> bool:
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
            except psycopg.Error:
                self.release()
                raise
            return True
        connection = connect(self._database)
        try:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
        except psycopg.Error:
            connection.close()
            raise
        if row != (True,):
            connection.close()
            return False
        self._connection = connection
        return True
