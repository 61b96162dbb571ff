"""What a holder does with a store that exists: collect it, complete, abandon, deactivate."""

from __future__ import annotations

import hmac

from issuer.audit.events import record
from issuer.clock import Clock
from issuer.errors import DeliveryExpired, DeliveryTokenInvalid, NotFound
from issuer.faults import FaultPoint, fault_point
from issuer.identity.identity import Identity
from issuer.issuance.ending import end_store
from issuer.issuance.order import Sealed
from issuer.registry import deliveries, orders, stores
from issuer.registry.database import Database
from issuer.registry.deliveries import Part
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.eligibility import check_owner
from policies.errors import AlreadyDeactivated, WrongState
from policies.lifecycle import StoreEvent, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason


class Holdings:
    """Every call proves the person first; another person's store is not found (never forbidden)."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def collect(self, identity: Identity, request_id: str, part: Part, recipient: bytes) -> Sealed:
        """Hand out one sealed part, as often as asked until completion or deadline.

        ``recipient`` is the public key of the caller's delivery token. Raises NotFound,
        DeliveryTokenInvalid, DeliveryExpired, WrongState while the store is being made.
        """
        check_owner(identity.standing, has_ehealth_id=identity.ehealth_id is not None)
        with self._database.write() as connection:
            store = self._store_of(identity, stores.of_request(connection, request_id))
            if store.status is StoreStatus.ISSUING:
                raise WrongState("the store is being made")
            if not hmac.compare_digest(store.recipient, recipient):
                raise DeliveryTokenInvalid(f"request {request_id}")
            now = self._clock()
            sealed = deliveries.fetch(connection, store.id, part, now)
            if sealed is None:
                raise DeliveryExpired(f"request {request_id}")
            stores.note(connection, store, f"{part}-fetched", actor="holder", now=now)
        return Sealed(store_id=store.id, ciphertext=sealed)

    def complete(self, identity: Identity, request_id: str) -> None:
        """The holder has what they need: the sealed material goes now. Idempotent."""
        check_owner(identity.standing, has_ehealth_id=identity.ehealth_id is not None)
        with self._database.write() as connection:
            store = self._store_of(identity, stores.of_request(connection, request_id, lock=True))
            if store.status is StoreStatus.ISSUING:
                raise WrongState("the store is being made")
            now = self._clock()
            delivery = deliveries.close(connection, store.id, now)
            if delivery is not None:
                details = {"delivered": delivery.complete}
                stores.note(connection, store, "delivery-completed", actor="holder", now=now, details=details)

    def abandon(self, identity: Identity, request_id: str) -> None:
        """Revoke what an unfinished request had begun (R14). Idempotent; nothing begun is fine.

        No gate is asked: a gate lost half-way, LuxTrust's too, is what ends a request (R4).
        Raises WrongState where the delivery was completed: such a store is deactivated, not abandoned.
        """
        if identity.ehealth_id is None:
            raise NotFound("nobody's request")
        with self._database.write() as connection:
            orders.lock_person(connection, identity.ehealth_id)
            store = stores.of_request(connection, request_id, lock=True)
            if store is None:
                now = self._clock()
                if orders.forget_order(connection, request_id, now):
                    record(
                        connection,
                        audit_events,
                        at=now,
                        actor="holder",
                        action="request-abandoned",
                        object_id=request_id,
                        ehealth_id=identity.ehealth_id,
                    )
                return
            self._store_of(identity, store)
            if store.status is StoreStatus.ACTIVE and deliveries.of_store(connection, store.id) is None:
                raise WrongState("the store was delivered")
            if store.status not in (StoreStatus.ISSUING, StoreStatus.ACTIVE):
                return
            now, reason = self._clock(), RevocationReason.ABANDONED
            end_store(connection, store, StoreEvent.REVOKE, reason, actor="holder", now=now)

    def deactivate(self, identity: Identity, store_id: str, reason: DeactivationReason) -> None:
        """Final (R19). Raises NotFound, AlreadyDeactivated, WrongState while it is being made."""
        check_owner(identity.standing, has_ehealth_id=identity.ehealth_id is not None)
        with self._database.write() as connection:
            store = self._store_of(identity, stores.find(connection, store_id, lock=True))
            if store.status is StoreStatus.ISSUING:
                raise WrongState("the store is being made")
            if store.status not in (StoreStatus.ACTIVE, StoreStatus.RETIRING):
                raise AlreadyDeactivated
            end_store(connection, store, StoreEvent.DEACTIVATE, reason, actor="holder", now=self._clock())
            fault_point(FaultPoint.STORE_ENDING)
        fault_point(FaultPoint.STORE_ENDED)

    @staticmethod
    def _store_of(identity: Identity, store: Store | None) -> Store:
        if store is None or store.ehealth_id != identity.ehealth_id:
            raise NotFound("no such store of this person")
        return store
