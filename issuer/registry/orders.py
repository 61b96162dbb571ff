"""From an order to an active store in the registry: claimed, prepared, activated.

The functions take a connection and belong to their caller's transaction, so that the
audit event and the notification commit with the change or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from issuer.errors import NotFound, RequestAlreadyUsed
from issuer.registry import certificates
from issuer.registry.certificates import Prepared
from issuer.registry.stores import Store, compare_and_set, find, of_person, of_request
from issuer.registry.tables import abandonments, deliveries, stores
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import StoreEvent, StoreStatus, next_store_status
from policies.renewal import RenewalRules

NewStore = Mapping[str, Any]
"""What is written when a store is claimed, before its key exists, by the columns of ``stores``."""


def claimed_since(connection: Connection, ehealth_id: str, since: datetime) -> int:
    """How many stores this person has begun since then, for the issuer's own limit."""
    query = sa.select(sa.func.count()).where(stores.c.ehealth_id == ehealth_id, stores.c.created_at >= since)
    return connection.execute(query).scalar_one()


def lock_person(connection: Connection, ehealth_id: str) -> None:
    """Let the decisions about one person follow each other. SQLite's write lock does it for all."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(ehealth_id))))


def forget_order(connection: Connection, request_id: str, now: datetime) -> bool:
    """Let no order of this request be taken any more; for requests that have begun no store.

    False where that was said before.
    """
    known = sa.select(abandonments).where(abandonments.c.request_id == request_id)
    if connection.execute(known).first() is not None:
        return False
    connection.execute(abandonments.insert().values(request_id=request_id, at=now))
    return True


def known(connection: Connection, new: NewStore) -> Store | None:
    """The store of an order that came before. Raises RequestAlreadyUsed where that was another order."""
    existing = of_request(connection, new["request_id"])
    if existing is None:
        return None
    if existing.ehealth_id != new["ehealth_id"] or existing.recipient != new["recipient"]:
        raise RequestAlreadyUsed(f"request {existing.request_id}")
    return existing


def claim(connection: Connection, new: NewStore, renewal: RenewalRules, now: datetime) -> tuple[Store, bool]:
    """Take the person's one place as ``issuing``. Idempotent by request id.

    Returns the store and whether it was claimed by this call. Raises ActiveStoreExists
    where another store is being made, or one is active that this one does not renew;
    NotFound where what it renews is no store of this person; RenewalTooEarly;
    RequestAlreadyUsed; WrongState where the request has ended.
    """
    lock_person(connection, new["ehealth_id"])
    existing = known(connection, new)
    if existing is not None:
        return existing, False
    abandoned = sa.select(abandonments).where(abandonments.c.request_id == new["request_id"])
    if connection.execute(abandoned).first() is not None:
        raise WrongState("the request was abandoned before its order arrived")
    own, renews = of_person(connection, new["ehealth_id"]), new["renews"]
    if renews is not None and renews not in {store.id for store in own}:
        raise NotFound(f"store {renews}")
    for other in own:
        if other.status is StoreStatus.ACTIVE and other.id == renews:
            renewal.check(now, other.status, other.not_after)
        elif other.status in (StoreStatus.ISSUING, StoreStatus.ACTIVE):
            raise ActiveStoreExists
    try:
        connection.execute(stores.insert(), {**new, "status": StoreStatus.ISSUING, "created_at": now})
    except IntegrityError:
        # Somebody else's request id, taken between the look and the insert.
        raise ActiveStoreExists from None
    return find(connection, new["id"]), True


def prepare(
    connection: Connection, store: Store, prepared: Prepared, *, authority: str, now: datetime
) -> None:
    """Write the intent to sign (invariant 2). Raises WrongState where the store was ended meanwhile."""
    certificates.prepare(connection, prepared, authority=authority, now=now)
    compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.run == store.run,
        stores.c.status == StoreStatus.ISSUING,
        stores.c.serial.is_(None),
        serial=prepared.serial_number,
        not_before=prepared.not_before,
        not_after=prepared.not_after,
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
    # First: only what has a signed certificate becomes active (a trigger says so too).
    certificates.complete(connection, serial, certificate)
    compare_and_set(
        connection,
        stores.c.id == store.id,
        stores.c.serial == serial,
        stores.c.status == StoreStatus.ISSUING,
        status=next_store_status(StoreStatus.ISSUING, StoreEvent.ACTIVATE),
        sha256_fingerprint=fingerprint,
        activated_at=now,
    )
    connection.execute(
        deliveries.insert().values(
            store_id=store.id,
            sealed_password=sealed_password,
            sealed_keystore=sealed_keystore,
            deadline=deadline,
        )
    )
