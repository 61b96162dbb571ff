"""What the support may see of a person by eHealthID (R31). Every look is written down before it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.journey import records
from api.journey.holdings import HeldStore, HeldStores
from api.journey.records import JourneyRequest
from api.journey.tables import journey_events
from issuer.audit.events import record
from issuer.clock import Clock
from issuer.identity.identity import EHealthId, Identity
from issuer.registry import outbox
from issuer.registry.database import Database
from issuer.registry.outbox import SentNotice


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    requests: list[JourneyRequest]
    stores: list[HeldStore]
    notices: Mapping[str, list[SentNotice]]
    """By store: what was mailed, and what a mail server refused for good (R24)."""


class SupportDesk:
    """Thread-safe. Who asks has been proven to be of the support."""

    def __init__(
        self, *, database: Database, registry: Database, held_stores: HeldStores, clock: Clock
    ) -> None:
        self._database = database
        self._registry = registry
        self._held_stores = held_stores
        self._clock = clock

    def look(self, supporter: Identity, ehealth_id: EHealthId) -> Findings:
        with self._database.write() as connection:
            record(
                connection,
                journey_events,
                at=self._clock(),
                actor="support",
                action="support-looked",
                object_id=ehealth_id,
                ehealth_id=ehealth_id,
                details={"supporter": supporter.subject},
            )
            requests = records.of_person(connection, ehealth_id)
        stores = self._held_stores.of_number(ehealth_id)
        with self._registry.read() as connection:
            notices = {held.store.id: outbox.of_store(connection, held.store.id) for held in stores}
        return Findings(requests=requests, stores=stores, notices=notices)
