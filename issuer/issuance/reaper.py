"""Ends what nobody else ends: orphaned generations, delivery deadlines, expired stores.

Runs in the issuer. A step that fails is logged and tried again on the next round.
"""

from __future__ import annotations

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from issuer.audit.events import record
from issuer.clock import Clock
from issuer.issuance.config import IssuanceConfig
from issuer.issuance.ending import end_store
from issuer.issuance.issuing import Issuance
from issuer.registry import deliveries, outbox, stores
from issuer.registry.database import Database
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.errors import PolicyRefusal
from policies.lifecycle import StoreEvent, StoreStatus
from policies.reasons import RevocationReason

log = structlog.get_logger(__name__)


class Reaper:
    def __init__(self, database: Database, issuance: Issuance, config: IssuanceConfig, clock: Clock) -> None:
        self._database = database
        self._issuance = issuance
        self._config = config
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. The first round at once: it ends what the previous run left behind."""
        while True:
            try:
                self.round()
            except SQLAlchemyError as error:
                log.warning("reaper-round-failed", cause=type(error).__name__)
            if stop.wait(self._config.reap_every):
                return

    def round(self) -> None:
        with self._database.read() as connection:
            now = self._clock()
            orphans = [
                store for store in stores.in_status(connection, StoreStatus.ISSUING) if self._orphaned(store)
            ]
            late = deliveries.past_deadline(connection, now)
            expired = stores.past_expiry(connection, now)
        for store in orphans:
            self._revoke_orphan(store)
        for delivery in late:
            self._close(delivery)
        for store in expired:
            self._expire(store)

    def _orphaned(self, store: Store) -> bool:
        """Nobody in this process makes it: an earlier run's, or one that could not be given up.

        A claim is in hand before its row is visible, so what is not in hand is nobody's.
        """
        return store.id not in self._issuance.in_hand()

    def _revoke_orphan(self, store: Store) -> None:
        try:
            with self._database.write() as connection:
                current = stores.find(connection, store.id)
                if current.status is StoreStatus.ISSUING:
                    end_store(
                        connection,
                        current,
                        StoreEvent.REVOKE,
                        RevocationReason.GENERATION_FAILED,
                        actor="service",
                        now=self._clock(),
                    )
                    log.warning("orphan-revoked", store=store.id, run=store.run)
        except PolicyRefusal as error:
            log.info("orphan-changed", store=store.id, cause=type(error).__name__)

    def _close(self, delivery: deliveries.Delivery) -> None:
        with self._database.write() as connection:
            now = self._clock()
            current = deliveries.of_store(connection, delivery.store_id)
            if current is None or not deliveries.close(connection, current, now):
                return
            store = stores.find(connection, delivery.store_id)
            record(
                connection,
                audit_events,
                at=now,
                actor="service",
                action="delivery-expired",
                object_id=store.id,
                ehealth_id=store.ehealth_id,
                details={"delivered": current.complete},
            )

    def _expire(self, store: Store) -> None:
        with self._database.write() as connection:
            now = self._clock()
            if not stores.lapse(connection, store, now):
                return
            record(
                connection,
                audit_events,
                at=now,
                actor="service",
                action="store-expired",
                object_id=store.id,
                ehealth_id=store.ehealth_id,
                details={"serial": store.serial},
            )
            outbox.enqueue(
                connection,
                event="expired",
                address=store.email,
                language=store.language,
                parameters={
                    "serial_number": store.serial or "",
                    "sha256_fingerprint": store.sha256_fingerprint or "",
                    "not_after": store.not_after.isoformat() if store.not_after else "",
                },
                store_id=store.id,
                now=now,
            )
