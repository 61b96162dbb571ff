"""Engines and transactions for SQLite and PostgreSQL, the same for registry and journey.

A write transaction takes its lock at once: on SQLite ``BEGIN IMMEDIATE``, because a
transaction that reads first and writes later fails without waiting when somebody else
wrote in between. On PostgreSQL each change ends with a NOTIFY, which followers wait for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url

NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}
"""Of constraints and indexes, the same in both databases and in their migrations."""
WRITE = "mycert_write"
_BUSY_SECONDS = 60
POSTGRESQL_LOST: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}
"""A server that vanished without a word is given up in seconds; by itself TCP takes from 15 minutes to hours.
All in seconds but the last, which bounds what was sent and not acknowledged, in milliseconds."""
# A transaction that changed nothing has no number yet: who looks for work and finds none wakes nobody.
_NOTIFY = sa.text("SELECT pg_notify(:channel, '') WHERE pg_current_xact_id_if_assigned() IS NOT NULL")


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC moment; refuses naive ones. SQLite has no zones, so UTC is stored there."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One engine; ``read()`` and ``write()`` are the only ways in."""

    def __init__(self, url: str, *, channel: str, read_only: bool = False, pool_size: int = 10) -> None:
        """``channel`` names the PostgreSQL notification and schema: ``registry`` or ``journey``."""
        self.url: URL = make_url(url)
        self.channel = channel
        self.read_only = read_only
        self.engine: Engine = _engine(self.url, channel, read_only, pool_size)
        self._turn = threading.Lock()
        self._closed = False
        sa.event.listen(self.engine, "checkin", self._let_go)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with (
            self._own_turn(),
            self.engine.connect().execution_options(**{WRITE: True}) as connection,
            connection.begin(),
        ):
            yield connection
            if not self.is_sqlite:
                connection.execute(_NOTIFY, {"channel": self.channel})

    @contextlib.contextmanager
    def _own_turn(self) -> Iterator[None]:
        """SQLite has one writer, and who finds another sleeps up to 0.1 s before it looks again; a
        process's own threads therefore wait for each other here, and are woken."""
        if not self.is_sqlite:
            yield
        elif self._turn.acquire(timeout=_BUSY_SECONDS):
            try:
                yield
            finally:
                self._turn.release()
        else:
            raise sa.exc.TimeoutError("another thread writes without end")

    def close(self) -> None:
        """Close what is at rest; what another thread still works with, when it comes back."""
        self._closed = True
        self.engine.dispose()

    def _let_go(self, _connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
        # The pool that it comes back to is nobody's any more: the server would keep the session.
        if self._closed:
            record.invalidate()


def _engine(url: URL, schema: str, read_only: bool, pool_size: int) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, read_only, pool_size)
    return sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        # Nobody waits for another's lock without end, as on SQLite.
        connect_args={"options": f"-csearch_path={schema} -clock_timeout=60s", **POSTGRESQL_LOST},
        hide_parameters=True,
    )


def _sqlite_engine(url: URL, read_only: bool, pool_size: int) -> Engine:
    path = url.database
    if not path or path == ":memory:":
        raise ValueError("an SQLite database here is a file")
    # A reader asks for mode=ro: it has no right to write the file, and should not try.
    target = f"file:{path}?mode={'ro' if read_only else 'rwc'}"
    engine = sa.create_engine(
        f"sqlite:///{target}&uri=true",
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS, "cached_statements": 256},
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # The driver's own transaction handling is switched off: _begin below decides.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA foreign_keys = ON")
        # A large sort spills into /tmp otherwise, which confined processes have not, and which is nobody's.
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def insert_unless_conflict(connection: Connection, table: sa.Table, **values: object) -> bool:
    """Insert a row, or nothing where a unique index has one like it; False then.

    Waits for the transaction that holds such a row uncommitted.
    """
    statement = _insert(connection, table).values(**values).on_conflict_do_nothing()
    # Without the option an INSERT's row count is not kept.
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, object]],
    *,
    key: Sequence[str],
    change: Mapping[str, sa.ColumnElement[Any]] | None = None,
) -> None:
    """Insert rows, or change those that are there: to the new values, where ``change`` says nothing else."""
    statement = _insert(connection, table)
    if change is None:
        change = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=change), rows)


def _insert(connection: Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
