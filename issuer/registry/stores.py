"""Stores in the registry: looked at, retired, ended. How one is claimed is in ``issuer.registry.orders``.

Each change is a compare-and-set. The functions take a connection and belong to their
caller's transaction, so that the audit event and the notification commit with the change
or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from issuer.audit.events import Detail, record
from issuer.errors import NotFound
from issuer.registry.tables import audit_events, stores
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import StoreEvent, StoreStatus, next_store_status, statuses_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A row of ``stores``, without what only the issuer needs."""

    id: str
    request_id: str
    serial: str | None
    status: StoreStatus
    ehealth_id: str
    given_name: str
    family_name: str
    profession_code: str
    profession_label: str | None
    email: str
    language: str
    key_type: str
    keystore_profile: str
    recipient: bytes
    run: str
    renews: str | None
    """The store that this one takes the place of when it is activated."""
    sha256_fingerprint: str | None
    not_before: datetime | None
    not_after: datetime | None
    created_at: datetime
    activated_at: datetime | None
    retires_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    reason: str | None
    delivered_at: datetime | None


_SELECT = sa.select(*(stores.c[name] for name in Store.__dataclass_fields__))
_OF_ID = _SELECT.where(stores.c.id == sa.bindparam("store_id"))
_OF_REQUEST = _SELECT.where(stores.c.request_id == sa.bindparam("request_id"))
_OF_ID_AND_PERSON = _OF_ID.where(stores.c.ehealth_id == sa.bindparam("ehealth_id"))
"""Built once: putting a statement together costs more than running it."""


def _store(row: Row[tuple[object, ...]]) -> Store:
    values = dict(row._mapping)
    values["status"] = StoreStatus(values["status"])
    return Store(**values)


def _one(connection: Connection, query: sa.Select[Any], *, lock: bool = False, **values: str) -> Store | None:
    if lock:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query, values).first()
    return None if row is None else _store(row)


def find(connection: Connection, store_id: str, *, lock: bool = False) -> Store:
    """Raises NotFound. ``lock``: as it stands until the transaction ends (SQLite: each writer is alone)."""
    found = _one(connection, _OF_ID, lock=lock, store_id=store_id)
    if found is None:
        raise NotFound(f"store {store_id}")
    return found


def lock_all(connection: Connection, store_ids: Collection[str]) -> list[Store]:
    """Several, locked in one order for everybody, so that nobody waits in a circle. Raises NotFound."""
    return [find(connection, store_id, lock=True) for store_id in sorted(set(store_ids))]


def find_of_person(connection: Connection, store_id: str, ehealth_id: str) -> Store:
    """Raises NotFound, for another person's store too, at the same cost."""
    found = _one(connection, _OF_ID_AND_PERSON, store_id=store_id, ehealth_id=ehealth_id)
    if found is None:
        raise NotFound(f"store {store_id}")
    return found


def note(
    connection: Connection,
    store: Store,
    action: str,
    *,
    actor: str,
    now: datetime,
    details: Mapping[str, Detail] | None = None,
) -> None:
    """The audit event of what happens to a store, in the transaction of what happens (invariant 5)."""
    record(
        connection,
        audit_events,
        at=now,
        actor=actor,
        action=action,
        object_id=store.id,
        ehealth_id=store.ehealth_id,
        details=details,
    )


def of_request(connection: Connection, request_id: str, *, lock: bool = False) -> Store | None:
    return _one(connection, _OF_REQUEST, lock=lock, request_id=request_id)


def of_person(connection: Connection, ehealth_id: str) -> list[Store]:
    """All stores of a person, newest first."""
    query = _SELECT.where(stores.c.ehealth_id == ehealth_id).order_by(stores.c.created_at.desc(), stores.c.id)
    return [_store(row) for row in connection.execute(query)]


def issuing(connection: Connection) -> list[Store]:
    return [_store(row) for row in connection.execute(_SELECT.where(_is(StoreStatus.ISSUING)))]


def _is(status: StoreStatus) -> sa.ColumnElement[bool]:
    # Spelt out, because no planner takes a partial index (tables.py) for a parameter.
    return stores.c.status == sa.literal(status, sa.String, literal_execute=True)


def end(
    connection: Connection,
    store: Store,
    event: StoreEvent,
    *,
    reason: str | None,
    ended_by: str,
    now: datetime,
) -> StoreStatus:
    """Apply a final transition. Raises WrongState where it has ended already."""
    status = next_store_status(store.status, event)
    compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.status == store.status,
        status=status,
        reason=reason,
        ended_by=ended_by,
        ended_at=now,
    )
    return status


def retire(connection: Connection, store: Store, until: datetime) -> None:
    """From active to retiring. Raises WrongState where it is not active, or another one retires."""
    compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.status == store.status,
        status=next_store_status(store.status, StoreEvent.RETIRE),
        retires_at=until,
    )


def retired(connection: Connection, now: datetime) -> list[Store]:
    """Those whose overlap with their successor has ended."""
    query = _SELECT.where(_is(StoreStatus.RETIRING), stores.c.retires_at <= now)
    return [_store(row) for row in connection.execute(query)]


def expiring(
    connection: Connection, after: datetime, until: datetime, *, unless: sa.Select[tuple[str]]
) -> list[Store]:
    """Active stores that expire in that time, but for those named by ``unless``."""
    query = _SELECT.where(
        stores.c.status == StoreStatus.ACTIVE,
        stores.c.not_after > after,
        stores.c.not_after <= until,
        stores.c.id.not_in(unless),
    )
    return [_store(row) for row in connection.execute(query)]


def past_expiry(connection: Connection, now: datetime) -> list[Store]:
    query = _SELECT.where(stores.c.status.in_(statuses_before(StoreEvent.LAPSE)), stores.c.not_after < now)
    return [_store(row) for row in connection.execute(query)]


def previous_address(connection: Connection, store: Store) -> str | None:
    """The address of the person's store before this one, where it was another."""
    query = (
        sa.select(stores.c.email)
        .where(
            stores.c.ehealth_id == store.ehealth_id,
            stores.c.id != store.id,
            stores.c.activated_at.is_not(None),
        )
        .order_by(stores.c.activated_at.desc())
        .limit(1)
    )
    address = connection.execute(query).scalar()
    return None if address == store.email else address


def compare_and_set(connection: Connection, *conditions: sa.ColumnElement[bool], **values: object) -> None:
    """Raises WrongState where the row is not as it was read, ActiveStoreExists where its place is taken."""
    try:
        changed = connection.execute(stores.update().where(*conditions).values(values)).rowcount
    except IntegrityError:
        raise ActiveStoreExists from None
    if changed != 1:
        raise WrongState("the store has changed since it was read")


def search(
    connection: Connection,
    *,
    ehealth_id: str | None = None,
    serial: str | None = None,
    status: StoreStatus | None = None,
    limit: int = 100,
) -> list[Store]:
    """For officers and support: newest first."""
    query = _SELECT.order_by(stores.c.created_at.desc(), stores.c.id).limit(limit)
    for column, value in (
        (stores.c.ehealth_id, ehealth_id),
        (stores.c.serial, serial),
        (stores.c.status, status),
    ):
        if value is not None:
            query = query.where(column == value)
    return [_store(row) for row in connection.execute(query)]
