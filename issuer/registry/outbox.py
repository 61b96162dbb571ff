"""The transactional outbox (R24): a message is written with what it tells of, and sent afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.database import insert_unless_conflict
from issuer.registry.stores import Store
from issuer.registry.tables import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    id: str
    event: str
    address: str
    language: str
    parameters: Mapping[str, str]
    created_at: datetime
    attempts: int


def enqueue(
    connection: Connection,
    *,
    event: str,
    address: str,
    language: str,
    parameters: Mapping[str, str],
    store_id: str | None,
    now: datetime,
    reminder: int | None = None,
) -> bool:
    """``parameters`` hold what the message says: never a secret, never a file.

    False where this store has had this ``reminder``: the unique index decides, not the caller's memory.
    """
    return insert_unless_conflict(
        connection,
        outbox,
        id=str(uuid.uuid4()),
        event=event,
        address=address,
        language=language,
        parameters=dict(parameters),
        store_id=store_id,
        created_at=now,
        due_at=now,
        attempts=0,
        reminder=reminder,
    )


def tell_holder(
    connection: Connection,
    store: Store,
    event: str,
    parameters: Mapping[str, str],
    now: datetime,
    *,
    reminder: int | None = None,
) -> bool:
    """To the address that the store was delivered with. Which certificate it is about is said in any case."""
    which = {"serial_number": store.serial or "", "sha256_fingerprint": store.sha256_fingerprint or ""}
    return enqueue(
        connection,
        event=event,
        address=store.email,
        language=store.language,
        parameters={**which, **parameters},
        store_id=store.id,
        now=now,
        reminder=reminder,
    )


def has_reminder(reminder: int) -> sa.Select[tuple[str]]:
    """The stores that have had it."""
    return sa.select(outbox.c.store_id).where(outbox.c.event == "expiring", outbox.c.reminder == reminder)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentNotice:
    """What the support may know of a message: that it went, not what it says."""

    event: str
    created_at: datetime
    sent_at: datetime | None
    refused_at: datetime | None


def of_store(connection: Connection, store_id: str) -> list[SentNotice]:
    query = (
        sa.select(*(outbox.c[name] for name in SentNotice.__dataclass_fields__))
        .where(outbox.c.store_id == store_id)
        .order_by(outbox.c.created_at)
    )
    return [SentNotice(**row._mapping) for row in connection.execute(query)]


def claim_due(connection: Connection, now: datetime, lease_until: datetime, limit: int) -> list[OutboxEntry]:
    """Take what is due and put it off until ``lease_until``, so that a second sender leaves it alone."""
    query = (
        sa.select(*(outbox.c[name] for name in OutboxEntry.__dataclass_fields__))
        .where(outbox.c.due_at <= now)
        .order_by(outbox.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    entries = [OutboxEntry(**row._mapping) for row in connection.execute(query)]
    if entries:
        connection.execute(
            outbox.update()
            .where(outbox.c.id.in_([entry.id for entry in entries]))
            .values(due_at=lease_until, attempts=outbox.c.attempts + 1)
        )
    return entries


def mark_sent(connection: Connection, entry_id: str, now: datetime) -> None:
    connection.execute(
        outbox.update().where(outbox.c.id == entry_id).values(sent_at=now, due_at=None, last_error=None)
    )


def mark_failed(
    connection: Connection, entry_id: str, now: datetime, *, retry_at: datetime | None, error: str
) -> None:
    """``retry_at`` None: the server refused the recipient for good; support sees it."""
    values: dict[str, object] = {"due_at": retry_at, "last_error": error}
    if retry_at is None:
        values["refused_at"] = now
    connection.execute(outbox.update().where(outbox.c.id == entry_id).values(values))
