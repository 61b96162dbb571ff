"""How a store ends: one way, whoever ends it (R19, R20, R23; invariants 3, 4, 5)."""

from __future__ import annotations

from datetime import datetime

from asn1crypto import core, crl
from sqlalchemy.engine import Connection

from issuer.audit.events import record
from issuer.registry import outbox, status, stores
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.lifecycle import StoreEvent, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason, X509Reason, x509_reason

ISSUING = "issuing"
"""The name of the authority that signs professionals' certificates."""

_X509_NAMES = {
    X509Reason.KEY_COMPROMISE: "key_compromise",
    X509Reason.AFFILIATION_CHANGED: "affiliation_changed",
    X509Reason.SUPERSEDED: "superseded",
    X509Reason.CESSATION_OF_OPERATION: "cessation_of_operation",
    X509Reason.PRIVILEGE_WITHDRAWN: "privilege_withdrawn",
}


def encode_crl_entry(serial: int, revoked_at: datetime, reason: X509Reason) -> bytes:
    """DER of one revokedCertificates entry (RFC 5280 5.1), encoded once, for every CRL to come.

    reasonCode is not critical and left out for unspecified (5.3.1). Times before 2050 are
    UTCTime (5.1.2.6).
    """
    moment = revoked_at.replace(microsecond=0)
    entry: dict[str, object] = {
        "user_certificate": serial,
        "revocation_date": crl.Time({"utc_time": moment} if moment.year < 2050 else {"general_time": moment}),
    }
    if reason is not X509Reason.UNSPECIFIED:
        entry["crl_entry_extensions"] = [
            {
                "extn_id": "crl_reason",
                "critical": False,
                "extn_value": core.ParsableOctetString(crl.CRLReason(_X509_NAMES[reason]).dump()),
            }
        ]
    der: bytes = crl.RevokedCertificate(entry).dump()
    return der


def end_store(
    connection: Connection,
    store: Store,
    event: StoreEvent,
    reason: DeactivationReason | RevocationReason,
    *,
    actor: str,
    now: datetime,
) -> StoreStatus:
    """Deactivate or revoke in the caller's transaction: store, revocation, audit, notification.

    ``actor`` is ``holder``, ``service`` or ``officer:<name>``. A certificate that was only
    prepared is revoked too, for its signature may exist. Raises WrongState where the store
    has ended already.
    """
    ended = stores.end(connection, store, event, reason=reason, ended_by=actor.partition(":")[0], now=now)
    if store.serial is not None:
        x509 = x509_reason(reason)
        status.revoke(
            connection,
            serial=store.serial,
            authority=ISSUING,
            reason=x509,
            entry=encode_crl_entry(int(store.serial, 16), now, x509),
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
