"""Connections end: of a database that is closed, even one in use; of a server that vanished."""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa

from issuer.registry.changes import connect
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


def test_a_server_that_vanished_is_given_up_in_seconds(postgres_database: Callable[..., str]) -> None:
    """By every connection; TCP itself would wait for two hours in the middle of a query."""
    database = Database(postgres_database(), channel="registry")
    with connect(database) as listener, database.read() as pooled:
        driver = pooled.connection.driver_connection
        assert driver is not None
        for connection in (listener, driver):
            given = connection.info.get_parameters()
            silence = int(given["keepalives_idle"]) + int(given["keepalives_interval"]) * int(
                given["keepalives_count"]
            )
            assert silence <= 15
            assert 0 < int(given["tcp_user_timeout"]) <= 15_000
            assert int(given["connect_timeout"]) <= 15
    database.close()
