"""A person's stores: looked at from the registry, deactivated by the issuer (R7, R19)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from api.journey.steps import Person, Steps
from issuer.faults import FaultPoint, fault_point
from issuer.registry import deliveries, stores
from issuer.registry.deliveries import PARTS, Part
from issuer.registry.stores import Store
from policies.errors import ConfirmationMissing
from policies.reasons import DeactivationReason


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStore:
    store: Store
    fetched: frozenset[Part]
    """What the holder has been handed."""

    @property
    def delivered(self) -> bool:
        return self.fetched == PARTS


class HeldStores:
    """Not gated like a request: who has retired must still be able to deactivate."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def all_of(self, person: Person) -> list[HeldStore]:
        return self.of_number(person.ehealth_id)

    def of_number(self, ehealth_id: str) -> list[HeldStore]:
        """For who has been proven to be that person, or to be of the support."""
        with self._steps.registry.read() as connection:
            return [self._held(connection, store) for store in stores.of_person(connection, ehealth_id)]

    def find(self, person: Person, store_id: str) -> HeldStore:
        """Raises NotFound, for another person's store too."""
        ehealth_id = person.ehealth_id
        with self._steps.registry.read() as connection:
            found = stores.find_of_person(connection, store_id, ehealth_id)
            return self._held(connection, found)

    def deactivate(
        self, person: Person, store_id: str, reason: DeactivationReason, *, confirmed: bool
    ) -> HeldStore:
        """Final. Raises ConfirmationMissing, NotFound, AlreadyDeactivated, CaUnavailable."""
        self.find(person, store_id)
        if not confirmed:
            raise ConfirmationMissing
        fault_point(FaultPoint.DEACTIVATION_CONFIRMED)
        self._steps.issuer.deactivate(person.assertion, store_id, reason)
        fault_point(FaultPoint.DEACTIVATION_ANSWERED)
        return self.find(person, store_id)

    def _held(self, connection: Connection, store: Store) -> HeldStore:
        if store.delivered_at is not None:
            return HeldStore(store=store, fetched=PARTS)
        delivery = deliveries.of_store(connection, store.id)
        return HeldStore(store=store, fetched=delivery.fetched if delivery else frozenset())
