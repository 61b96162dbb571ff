"""How a store ends: one way, whoever ends it (R19, R20, R23; invariants 3, 4, 5)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.engine import Connection

from issuer.audit.events import record
from issuer.issuance.crl import encode_entry
from issuer.registry import deliveries, outbox, status, stores
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.lifecycle import StoreEvent, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason, x509_reason

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
        x509 = x509_reason(reason)
        status.revoke(
            connection,
            serial=store.serial,
            authority=ISSUING,
            reason=x509,
            entry=encode_entry(int(store.serial, 16), now, x509),
            now=now,
        )
    record(
        connection,
        audit_events,
        at=now,
        actor=actor,
        action=f"store-{ended}",
        object_id=store.id,
        ehealth_id=store.ehealth_id,
        details={"reason": reason, "serial": store.serial, "was": store.status},
    )
    if store.status in (StoreStatus.ACTIVE, StoreStatus.RETIRING):
        outbox.enqueue(
            connection,
            event="deactivated",
            address=store.email,
            language=store.language,
            parameters={
                "serial_number": store.serial or "",
                "sha256_fingerprint": store.sha256_fingerprint or "",
                "ended_at": now.isoformat(),
                "reason": reason,
                "ended_by": actor.partition(":")[0],
            },
            store_id=store.id,
            now=now,
        )
    return ended
