"""Sealed deliveries: ciphertext with a deadline. Whoever reads them needs the holder's token to open them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.tables import deliveries, stores

Part = Literal["password", "keystore"]
PARTS: Final[frozenset[Part]] = frozenset({"password", "keystore"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    store_id: str
    deadline: datetime
    password_fetched_at: datetime | None
    keystore_fetched_at: datetime | None

    @property
    def fetched(self) -> frozenset[Part]:
        moments = {"password": self.password_fetched_at, "keystore": self.keystore_fetched_at}
        return frozenset(part for part in PARTS if moments[part] is not None)

    @property
    def complete(self) -> bool:
        return self.fetched == PARTS


def sealing_context(request_id: str, store_id: str) -> bytes:
    """What a sealed part is bound to, so that it opens as nothing else."""
    return f"{request_id}/{store_id}".encode()


_STATE = tuple(deliveries.c[name] for name in Delivery.__dataclass_fields__)
_OF_STORE = sa.select(*_STATE).where(deliveries.c.store_id == sa.bindparam("store_id"))


def of_store(connection: Connection, store_id: str) -> Delivery | None:
    row = connection.execute(_OF_STORE, {"store_id": store_id}).first()
    return None if row is None else Delivery(**row._mapping)


def fetch(connection: Connection, store_id: str, part: Part, now: datetime) -> bytes | None:
    """The sealed part, marked as fetched; None where it is gone or its deadline has passed."""
    sealed = deliveries.c[f"sealed_{part}"]
    fetched_at = deliveries.c[f"{part}_fetched_at"]
    row = connection.execute(
        sa.select(sealed).where(deliveries.c.store_id == store_id, deliveries.c.deadline > now)
    ).first()
    if row is None:
        return None
    connection.execute(
        deliveries.update()
        .where(deliveries.c.store_id == store_id, fetched_at.is_(None))
        .values({fetched_at.name: now})
    )
    return bytes(row[0])


def past_deadline(connection: Connection, now: datetime) -> list[Delivery]:
    return [
        Delivery(**row._mapping)
        for row in connection.execute(sa.select(*_STATE).where(deliveries.c.deadline <= now))
    ]


def close(connection: Connection, store_id: str, now: datetime) -> Delivery | None:
    """Delete the sealed material; the store counts as delivered when both parts were fetched.

    Returns how far the delivery had come; None where it was closed before. The caller holds
    the store's lock, as everybody does who takes both.
    """
    row = connection.execute(
        deliveries.delete().where(deliveries.c.store_id == store_id).returning(*_STATE)
    ).first()
    if row is None:
        return None
    closed = Delivery(**row._mapping)
    if closed.complete:
        connection.execute(stores.update().where(stores.c.id == store_id).values(delivered_at=now))
    return closed
