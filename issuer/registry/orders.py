"""Orders in the registry: claimed, known again, or forgotten before they come.

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
from issuer.registry.stores import Store, find, of_person, of_request
from issuer.registry.tables import abandonments, stores
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import StoreStatus
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
