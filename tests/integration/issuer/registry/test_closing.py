"""A database that is closed keeps no connection, not even one that a thread still reads with."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from issuer.registry.database import Database


def test_a_connection_in_use_is_closed_when_it_comes_back(registry: Database) -> None:
    reading, closed = threading.Event(), threading.Event()
    seen: list[tuple[object, object]] = []

    def read() -> None:
        with registry.read() as connection:
            entry = connection.connection._connection_record
            reading.set()
            closed.wait(timeout=30)
            answer = connection.execute(sa.text("SELECT 1")).scalar_one()
        assert entry is not None
        seen.append((answer, entry.dbapi_connection))

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(timeout=30)
    registry.close()
    closed.set()
    reader.join(timeout=30)
    assert seen == [(1, None)]
