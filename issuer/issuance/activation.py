"""The last step of an issuance, in one transaction: active, delivered, recorded, notified (invariants 1, 5).

A store that this one renews makes way in the same transaction: it ends, or it retires for
the overlap that is configured (R22).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from sqlalchemy.engine import Connection

from issuer.audit.events import record
from issuer.issuance.ending import end_store
from issuer.issuance.keystore.messages import SealedKeystore
from issuer.registry import orders, outbox, stores
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.lifecycle import StoreEvent, StoreStatus
from policies.reasons import RevocationReason
from policies.renewal import RenewalRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an issuance has made, before anybody knows of it."""

    serial: str
    certificate: bytes
    not_before: datetime
    not_after: datetime
    sealed: SealedKeystore

    @property
    def fingerprint(self) -> str:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.certificate)
        return digest.finalize().hex()


def activate(
    connection: Connection,
    store: Store,
    made: Made,
    renewal: RenewalRules,
    *,
    deadline: datetime,
    now: datetime,
) -> None:
    """Raises WrongState where the store was ended meanwhile, ActiveStoreExists where its place is taken."""
    if store.renews is not None:
        _make_way(connection, store.id, store.renews, renewal, now)
    fingerprint = made.fingerprint
    orders.activate(
        connection,
        store,
        serial=made.serial,
        certificate=made.certificate,
        fingerprint=fingerprint,
        sealed_password=made.sealed.password,
        sealed_keystore=made.sealed.keystore,
        deadline=deadline,
        now=now,
    )
    record(
        connection,
        audit_events,
        at=now,
        actor="service",
        action="store-active",
        object_id=store.id,
        ehealth_id=store.ehealth_id,
        details={"serial": made.serial, "sha256_fingerprint": fingerprint},
    )
    parameters = {
        "serial_number": made.serial,
        "sha256_fingerprint": fingerprint,
        "not_before": made.not_before.isoformat(),
        "not_after": made.not_after.isoformat(),
    }
    previous = stores.previous_address(connection, store)
    for event, address in (("issued", store.email), ("address-changed", previous)):
        if address is not None:
            outbox.enqueue(
                connection,
                event=event,
                address=address,
                language=store.language,
                parameters=parameters,
                store_id=store.id,
                now=now,
            )


def _make_way(connection: Connection, new: str, old: str, renewal: RenewalRules, now: datetime) -> None:
    renewed = next(store for store in stores.lock_all(connection, (new, old)) if store.id == old)
    if renewed.status is not StoreStatus.ACTIVE or renewed.not_after is None:
        return  # Ended meanwhile, by its holder, an officer or its age.
    until = renewal.retires(now, renewed.not_after)
    if until is None:
        end_store(
            connection,
            renewed,
            StoreEvent.DEACTIVATE,
            RevocationReason.RENEWED,
            actor="holder",
            now=now,
        )
        return
    for other in stores.of_person(connection, renewed.ehealth_id):
        if other.status is StoreStatus.RETIRING:
            end_retirement(connection, other, now)
    stores.retire(connection, renewed, until)
    record(
        connection,
        audit_events,
        at=now,
        actor="service",
        action="store-retiring",
        object_id=renewed.id,
        ehealth_id=renewed.ehealth_id,
        details={"until": until.isoformat(), "successor": new},
    )


def end_retirement(connection: Connection, store: Store, now: datetime) -> None:
    """The overlap with its successor is over, or another store needs its place."""
    current = stores.find(connection, store.id, lock=True)
    if current.status is StoreStatus.RETIRING:
        end_store(
            connection,
            current,
            StoreEvent.DEACTIVATE,
            RevocationReason.RENEWED,
            actor="service",
            now=now,
        )
