"""Ends what nobody else ends: orphaned generations and signers, delivery deadlines, overlaps, expired stores.

Runs in the issuer. A step that fails is logged and tried again on the next round.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from issuer.audit.events import record
from issuer.clock import Clock
from issuer.issuance.config import IssuanceConfig
from issuer.issuance.ending import ISSUING, end_generation, end_retirement, revoke_serial
from issuer.issuance.issuing import Issuance
from issuer.issuance.reminders import remind
from issuer.registry import certificates, deliveries, outbox, stores
from issuer.registry.database import Database
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.lifecycle import StoreEvent, statuses_before
from policies.reasons import X509Reason

log = structlog.get_logger(__name__)

_GIVEN_UP = timedelta(minutes=5)
"""Another issuer may be signing what was written down just now."""
_REMIND_EVERY = timedelta(minutes=1)
"""A look at all that will expire."""
_Item = TypeVar("_Item")


class Reaper:
    def __init__(self, database: Database, issuance: Issuance, config: IssuanceConfig, clock: Clock) -> None:
        self._database = database
        self._issuance = issuance
        self._config = config
        self._clock = clock
        self._reminded: datetime | None = None

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. The first round at once: it ends what the previous run left behind."""
        while True:
            try:
                self.round()
            except Exception as error:  # noqa: BLE001 - deadlines must not end with the thread, whatever it was
                log.warning("reaper-round-failed", cause=type(error).__name__)
            if stop.wait(self._config.reap_every):
                return

    def round(self) -> None:
        """One thing that cannot be ended now keeps no other from its end."""
        with self._database.read() as connection:
            now = self._clock()
            issuing = stores.issuing(connection)
            late = deliveries.past_deadline(connection, now)
            retired = stores.retired(connection, now)
            expired = stores.past_expiry(connection, now)
            unfinished = certificates.unfinished_responders(connection, ISSUING, now - _GIVEN_UP)
        self._each([store for store in issuing if self._orphaned(store, now)], self._revoke_orphan)
        self._each(late, self._close)
        self._each(retired, self._end_retirement)
        self._each(expired, self._expire)
        self._each(unfinished, self._revoke_responder)
        now = self._clock()
        if self._reminded is None or now >= self._reminded + _REMIND_EVERY:
            remind(self._database, now)
            self._reminded = now

    def _each(self, items: Sequence[_Item], act: Callable[[_Item], None]) -> None:
        for item in items:
            try:
                act(item)
            except Exception as error:  # noqa: BLE001 - one that cannot be ended now keeps no other from its end
                log.warning("reaper-step-failed", step=act.__name__, cause=type(error).__name__)

    def _orphaned(self, store: Store, now: datetime) -> bool:
        """Nobody makes it: it is of an earlier run of this issuer, or could not be given up.

        A claim is in hand before its row is visible, so what of ours is not in hand is nobody's.
        Whoever has it in hand past its bound, another issuer too, holds it in vain.
        """
        late = now >= store.created_at + timedelta(seconds=self._config.bound)
        ours = store.run == self._config.instance
        return late or (ours and store.id not in self._issuance.in_hand())

    def _revoke_orphan(self, store: Store) -> None:
        with self._database.write() as connection:
            if not end_generation(connection, store.id, self._clock()):
                return
        log.warning("orphan-revoked", store=store.id, run=store.run)

    def _close(self, delivery: deliveries.Delivery) -> None:
        with self._database.write() as connection:
            now = self._clock()
            store = stores.find(connection, delivery.store_id, lock=True)
            closed = deliveries.close(connection, store.id, now)
            if closed is None:
                return
            details = {"delivered": closed.complete}
            stores.note(connection, store, "delivery-expired", actor="service", now=now, details=details)

    def _end_retirement(self, store: Store) -> None:
        with self._database.write() as connection:
            end_retirement(connection, store.id, self._clock())

    def _expire(self, store: Store) -> None:
        with self._database.write() as connection:
            now = self._clock()
            current = stores.find(connection, store.id, lock=True)
            if current.status not in statuses_before(StoreEvent.LAPSE):
                return
            stores.end(connection, current, StoreEvent.LAPSE, reason=None, ended_by="service", now=now)
            deliveries.close(connection, store.id, now)
            details = {"serial": store.serial}
            stores.note(connection, store, "store-expired", actor="service", now=now, details=details)
            ended = store.not_after.isoformat() if store.not_after else ""
            outbox.tell_holder(connection, store, "expired", {"not_after": ended}, now)

    def _revoke_responder(self, serial: str) -> None:
        """An OCSP signer's certificate that was written down, and whose signature never came to be known."""
        now = self._clock()
        with self._database.write() as connection:
            revoke_serial(connection, serial, X509Reason.CESSATION_OF_OPERATION, now)
            record(
                connection,
                audit_events,
                at=now,
                actor="service",
                action="ocsp-signer-given-up",
                object_id=serial,
            )
