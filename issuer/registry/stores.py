"""Stores in the registry: claimed, prepared, activated, ended. Each change is a compare-and-set.

The functions take a connection and belong to their caller's transaction, so that the
audit event and the notification commit with the change or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from issuer.errors import NotFound, RequestAlreadyUsed
from issuer.registry.tables import abandonments, certificates, deliveries, stores
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import StoreEvent, StoreStatus, next_store_status, statuses_before
from policies.terms import AcceptedTerms


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStore:
    """What is written when a store is claimed, before its key exists."""

    id: str
    request_id: str
    ehealth_id: str
    given_name: str
    family_name: str
    profession_code: str
    profession_label: str | None
    email: str
    language: str
    key_type: str
    keystore_profile: str
    terms: AcceptedTerms
    terms_accepted_at: datetime
    recipient: bytes
    run: str


_COLUMNS = tuple(stores.c[name] for name in Store.__dataclass_fields__)


def _store(row: Row[tuple[object, ...]]) -> Store:
    values = dict(row._mapping)
    values["status"] = StoreStatus(values["status"])
    return Store(**values)


def find(connection: Connection, store_id: str) -> Store:
    """Raises NotFound."""
    row = connection.execute(sa.select(*_COLUMNS).where(stores.c.id == store_id)).first()
    if row is None:
        raise NotFound(f"store {store_id}")
    return _store(row)


def find_of_person(connection: Connection, store_id: str, ehealth_id: str) -> Store:
    """Raises NotFound, for another person's store too, at the same cost."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(stores.c.id == store_id, stores.c.ehealth_id == ehealth_id)
    ).first()
    if row is None:
        raise NotFound(f"store {store_id}")
    return _store(row)


def of_request(connection: Connection, request_id: str) -> Store | None:
    row = connection.execute(sa.select(*_COLUMNS).where(stores.c.request_id == request_id)).first()
    return None if row is None else _store(row)


def of_person(connection: Connection, ehealth_id: str) -> list[Store]:
    """All stores of a person, newest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(stores.c.ehealth_id == ehealth_id)
        .order_by(stores.c.created_at.desc(), stores.c.id)
    )
    return [_store(row) for row in connection.execute(query)]


def in_status(connection: Connection, *statuses: StoreStatus) -> list[Store]:
    return [
        _store(row) for row in connection.execute(sa.select(*_COLUMNS).where(stores.c.status.in_(statuses)))
    ]


def claimed_since(connection: Connection, ehealth_id: str, since: datetime) -> int:
    """How many stores this person has begun since then, for the issuer's own limit."""
    query = sa.select(sa.func.count()).where(stores.c.ehealth_id == ehealth_id, stores.c.created_at >= since)
    return connection.execute(query).scalar_one()


def lock_person(connection: Connection, ehealth_id: str) -> None:
    """Let the decisions about one person follow each other. SQLite's write lock does it for all."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(ehealth_id))))


def forget_order(connection: Connection, request_id: str, now: datetime) -> None:
    """Let no order of this request be taken any more; for requests that have begun no store."""
    known = sa.select(abandonments).where(abandonments.c.request_id == request_id)
    if connection.execute(known).first() is None:
        connection.execute(abandonments.insert().values(request_id=request_id, at=now))


def claim(connection: Connection, new: NewStore, now: datetime) -> tuple[Store, bool]:
    """Take the person's one place as ``issuing``. Idempotent by request id.

    Returns the store and whether it was claimed by this call. Raises ActiveStoreExists
    where another store is active or being made, RequestAlreadyUsed where the request id
    was used for another person or another delivery token.
    """
    lock_person(connection, new.ehealth_id)
    existing = of_request(connection, new.request_id)
    if existing is not None:
        if existing.ehealth_id != new.ehealth_id or existing.recipient != new.recipient:
            raise RequestAlreadyUsed(f"request {new.request_id}")
        return existing, False
    if connection.execute(sa.select(abandonments).where(abandonments.c.request_id == new.request_id)).first():
        raise WrongState("the request was abandoned before its order arrived")
    occupied = sa.select(stores.c.id).where(
        stores.c.ehealth_id == new.ehealth_id,
        stores.c.status.in_((StoreStatus.ISSUING, StoreStatus.ACTIVE)),
    )
    if connection.execute(occupied).first() is not None:
        raise ActiveStoreExists
    values = {name: getattr(new, name) for name in NewStore.__dataclass_fields__ if name != "terms"}
    values.update(
        status=StoreStatus.ISSUING,
        created_at=now,
        terms_version=new.terms.version,
        terms_sha256=new.terms.sha256,
        terms_language=new.terms.language,
    )
    try:
        connection.execute(stores.insert().values(values))
    except IntegrityError:
        # Another transaction took the place, or the request id, between the look and the insert.
        raise ActiveStoreExists from None
    return find(connection, new.id), True


def prepare(
    connection: Connection,
    store: Store,
    *,
    serial: str,
    authority: str,
    profile: str,
    tbs: bytes,
    not_before: datetime,
    not_after: datetime,
    now: datetime,
) -> None:
    """Write the intent to sign (invariant 2). Raises WrongState where the store was ended meanwhile."""
    connection.execute(
        certificates.insert().values(
            serial=serial,
            authority=authority,
            profile=profile,
            tbs=tbs,
            not_before=not_before,
            not_after=not_after,
            created_at=now,
        )
    )
    _compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.run == store.run,
        stores.c.status == StoreStatus.ISSUING,
        stores.c.serial.is_(None),
        serial=serial,
        not_before=not_before,
        not_after=not_after,
    )


def activate(
    connection: Connection,
    store: Store,
    *,
    serial: str,
    certificate: bytes,
    fingerprint: str,
    sealed_password: bytes,
    sealed_keystore: bytes,
    deadline: datetime,
    now: datetime,
) -> None:
    """The signed certificate, its sealed delivery and ``active``, together.

    Raises WrongState where the store was ended meanwhile (cancelled, reaped), and
    ActiveStoreExists where the index finds another active one.
    """
    _compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.serial == serial,
        stores.c.status == StoreStatus.ISSUING,
        status=next_store_status(StoreStatus.ISSUING, StoreEvent.ACTIVATE),
        sha256_fingerprint=fingerprint,
        activated_at=now,
    )
    connection.execute(
        certificates.update().where(certificates.c.serial == serial).values(certificate=certificate)
    )
    connection.execute(
        deliveries.insert().values(
            store_id=store.id,
            sealed_password=sealed_password,
            sealed_keystore=sealed_keystore,
            deadline=deadline,
        )
    )


def end(
    connection: Connection, store: Store, event: StoreEvent, *, reason: str, ended_by: str, now: datetime
) -> StoreStatus:
    """Apply a final transition and drop the sealed delivery. Raises WrongState where it has ended already."""
    status = next_store_status(store.status, event)
    _compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.status.in_(statuses_before(event)),
        status=status,
        reason=reason,
        ended_by=ended_by,
        ended_at=now,
    )
    connection.execute(deliveries.delete().where(deliveries.c.store_id == store.id))
    return status


def past_expiry(connection: Connection, now: datetime) -> list[Store]:
    query = sa.select(*_COLUMNS).where(
        stores.c.status.in_(statuses_before(StoreEvent.LAPSE)), stores.c.not_after < now
    )
    return [_store(row) for row in connection.execute(query)]


def lapse(connection: Connection, store: Store, now: datetime) -> bool:
    """From active or retiring to expired; False where somebody else ended it meanwhile."""
    changed = connection.execute(
        stores.update()
        .where(stores.c.id == store.id, stores.c.status == store.status)
        .values(status=next_store_status(store.status, StoreEvent.LAPSE), ended_at=now, ended_by="service")
    ).rowcount
    connection.execute(deliveries.delete().where(deliveries.c.store_id == store.id))
    return changed == 1


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


def _compare_and_set(connection: Connection, *conditions: sa.ColumnElement[bool], **values: object) -> None:
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
    query = sa.select(*_COLUMNS).order_by(stores.c.created_at.desc(), stores.c.id).limit(limit)
    for column, value in (
        (stores.c.ehealth_id, ehealth_id),
        (stores.c.serial, serial),
        (stores.c.status, status),
    ):
        if value is not None:
            query = query.where(column == value)
    return [_store(row) for row in connection.execute(query)]
