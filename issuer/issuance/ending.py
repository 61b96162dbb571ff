"""How a store ends: one way, whoever ends it (R19, R20, R23; invariants 3, 4, 5)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.engine import Connection

from issuer.issuance.crl import encode_entry
from issuer.registry import deliveries, outbox, status, stores
from issuer.registry.stores import Store
from policies.lifecycle import StoreEvent, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason, X509Reason, x509_reason

ISSUING = "issuing"
"""The name of the authority that signs professionals' certificates."""


def end_store(
    connection: Connection,
    store: Store,
    event: StoreEvent,
    reason: DeactivationReason | RevocationReason,
    *,
    actor: str,
    now: datetime,
) -> StoreStatus:
    """Deactivate or revoke in the caller's transaction: store, delivery, revocation, audit, notification.

    The store was read under its lock: a serial that is prepared meanwhile would escape
    otherwise. ``actor`` is ``holder``, ``service`` or ``officer:<name>``. A certificate that was only
    prepared is revoked too, for its signature may exist. Raises WrongState where the store
    has ended already.
    """
    ended = stores.end(connection, store, event, reason=reason, ended_by=actor.partition(":")[0], now=now)
    deliveries.close(connection, store.id, now)
    if store.serial is not None:
        revoke_serial(connection, store.serial, x509_reason(reason), now)
    details = {"reason": reason, "serial": store.serial, "was": store.status}
    stores.note(connection, store, f"store-{ended}", actor=actor, now=now, details=details)
    if store.status in (StoreStatus.ACTIVE, StoreStatus.RETIRING):
        told = {"ended_at": now.isoformat(), "reason": reason, "ended_by": actor.partition(":")[0]}
        outbox.tell_holder(connection, store, "deactivated", told, now)
    return ended


def revoke_serial(connection: Connection, serial: str, reason: X509Reason, now: datetime) -> None:
    """Of the issuing CA, once; the CRL's entry is encoded here for good (invariant 3)."""
    entry = encode_entry(int(serial, 16), now, reason)
    status.revoke(connection, serial=serial, authority=ISSUING, reason=reason, entry=entry, now=now)


def end_generation(connection: Connection, store_id: str, now: datetime) -> bool:
    """Revoke what a generation that came to nothing left behind; False where it has ended already."""
    current = stores.find(connection, store_id, lock=True)
    if current.status is not StoreStatus.ISSUING:
        return False
    reason = RevocationReason.GENERATION_FAILED
    end_store(connection, current, StoreEvent.REVOKE, reason, actor="service", now=now)
    return True


def end_retirement(connection: Connection, store_id: str, now: datetime) -> None:
    """The overlap with its successor is over, or another store needs its place."""
    current = stores.find(connection, store_id, lock=True)
    if current.status is StoreStatus.RETIRING:
        reason = RevocationReason.RENEWED
        end_store(connection, current, StoreEvent.DEACTIVATE, reason, actor="service", now=now)
