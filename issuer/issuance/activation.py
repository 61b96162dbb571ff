"""The two steps of an issuance that follow its claim: the intent to sign (invariant 2), and the last one,
in one transaction: active, delivered, recorded, notified (invariants 1, 5).

A store that this one renews makes way in the same transaction: it ends, or it retires for
the overlap that is configured (R22).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from sqlalchemy.engine import Connection

from issuer.errors import NotFound
from issuer.issuance.ending import end_retirement, end_store
from issuer.issuance.keystore.messages import SealedKeystore
from issuer.issuance.templates import Template
from issuer.registry import certificates, outbox, stores, tables
from issuer.registry.stores import Store
from policies.lifecycle import StoreEvent, StoreStatus, next_store_status
from policies.reasons import RevocationReason
from policies.renewal import RenewalRules


def prepare(connection: Connection, store: Store, template: Template, now: datetime) -> None:
    """Write the intent to sign. Raises WrongState where the store was ended meanwhile."""
    certificates.prepare(connection, template.intent, now)
    stores.compare_and_set(
        connection,
        tables.stores.c.id == store.id,
        tables.stores.c.run == store.run,
        tables.stores.c.status == StoreStatus.ISSUING,
        tables.stores.c.serial.is_(None),
        serial=template.serial_number,
        not_before=template.not_before,
        not_after=template.not_after,
    )


def activate(
    connection: Connection,
    store: Store,
    template: Template,
    certificate: bytes,
    sealed: SealedKeystore,
    renewal: RenewalRules,
    *,
    deadline: datetime,
    now: datetime,
) -> None:
    """Raises WrongState where the store was ended meanwhile (cancelled, reaped), and ActiveStoreExists where
    the index finds another active one.
    """
    if store.renews is not None:
        _make_way(connection, store, store.renews, renewal, now)
    fingerprint = hashlib.sha256(certificate).hexdigest()
    # First: only what has a signed certificate becomes active (a trigger says so too).
    certificates.complete(connection, template.serial_number, certificate)
    stores.compare_and_set(
        connection,
        tables.stores.c.id == store.id,
        tables.stores.c.serial == template.serial_number,
        tables.stores.c.status == StoreStatus.ISSUING,
        status=next_store_status(StoreStatus.ISSUING, StoreEvent.ACTIVATE),
        sha256_fingerprint=fingerprint,
        activated_at=now,
    )
    connection.execute(
        tables.deliveries.insert(),
        {
            "store_id": store.id,
            "sealed_password": sealed.password,
            "sealed_keystore": sealed.keystore,
            "deadline": deadline,
        },
    )
    details = {"serial": template.serial_number, "sha256_fingerprint": fingerprint}
    stores.note(connection, store, "store-active", actor="service", now=now, details=details)
    told = {
        "serial_number": template.serial_number,
        "sha256_fingerprint": fingerprint,
        "not_before": template.not_before.isoformat(),
        "not_after": template.not_after.isoformat(),
    }
    outbox.tell_holder(connection, store, "issued", told, now)
    previous = stores.previous_address(connection, store)
    if previous is not None:
        outbox.tell_holder(connection, replace(store, email=previous), "address-changed", told, now)


def _make_way(connection: Connection, new: Store, old: str, renewal: RenewalRules, now: datetime) -> None:
    """For the store ``old`` of the same person. All that may end here is locked at once, in the one order."""
    retiring = {
        store.id
        for store in stores.of_person(connection, new.ehealth_id)
        if store.status is StoreStatus.RETIRING
    }
    locked = {store.id: store for store in stores.lock_all(connection, {new.id, old, *retiring})}
    renewed = locked[old]
    if renewed.ehealth_id != new.ehealth_id:
        raise NotFound(f"store {old}")
    if renewed.status is not StoreStatus.ACTIVE or renewed.not_after is None:
        return  # Ended meanwhile, by its holder, an officer or its age.
    until = renewal.retires(now, renewed.not_after)
    if until is None:
        reason = RevocationReason.RENEWED
        end_store(connection, renewed, StoreEvent.DEACTIVATE, reason, actor="holder", now=now)
        return
    for other in retiring:
        end_retirement(connection, other, now)
    stores.retire(connection, renewed, until)
    details = {"until": until.isoformat(), "successor": new.id}
    stores.note(connection, renewed, "store-retiring", actor="service", now=now, details=details)
