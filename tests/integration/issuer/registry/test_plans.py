"""What is asked every second, or at every commit, looks through no table: the registry only grows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry import answers, certificates, deliveries, outbox, status, stores
from tests.fixtures.registries import OpenRegistry

NOW = datetime(2027, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "ask",
    [
        stores.issuing,
        lambda connection: stores.retired(connection, NOW),
        lambda connection: stores.past_expiry(connection, NOW),
        lambda connection: stores.of_person(connection, "2221350001"),
        lambda connection: deliveries.past_deadline(connection, NOW),
        lambda connection: certificates.valid_responders(connection, "issuing", NOW),
        lambda connection: certificates.unfinished_responders(connection, "issuing", NOW),
        lambda connection: outbox.claim_due(connection, NOW, NOW, 10),
        lambda connection: status.marks(connection, "issuing"),
        lambda connection: status.last_revocation(connection, "issuing"),
        lambda connection: status.revoked_after(connection, "issuing", 7),
        lambda connection: status.oldest_revocation_after(connection, "issuing", 7),
        lambda connection: status.subject(connection, "issuing", "01"),
        lambda connection: answers.earliest_end(connection, "issuing"),
        lambda connection: list(answers.after_batch(connection, "issuing", 7)),
    ],
)
def test_an_index_answers(open_sqlite_registry: OpenRegistry, ask: Callable[[Connection], object]) -> None:
    registry = open_sqlite_registry()
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    with registry.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", note)
        ask(connection)
        sa.event.remove(connection, "before_cursor_execute", note)
        assert asked
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            for *_, step in plan:
                # A partial index is looked through as a whole: it holds what is meant, and no more.
                assert "INDEX" in step or not step.startswith("SCAN ") or "CONSTANT" in step, statement
