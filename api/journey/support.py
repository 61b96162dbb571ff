"""What the support may see of a person by eHealthID (R31). Every look is written down before it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.journey import records
from api.journey.holdings import HeldStore, HeldStores
from api.journey.records import JourneyRequest
from api.journey.steps import Steps
from api.journey.tables import journey_events
from issuer.audit.events import record
from issuer.identity.identity import EHealthId, Identity
from issuer.registry import outbox
from issuer.registry.outbox import SentNotice


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    requests: list[JourneyRequest]
    stores: list[HeldStore]
    notices: Mapping[str, list[SentNotice]]
    """By store: what was mailed, and what a mail server refused for good (R24)."""


def look(steps: Steps, supporter: Identity, ehealth_id: EHealthId) -> Findings:
    """Who asks has been proven to be of the support."""
    with steps.database.write() as connection:
        record(
            connection,
            journey_events,
            at=steps.clock(),
            actor="support",
            action="support-looked",
            object_id=ehealth_id,
            ehealth_id=ehealth_id,
            details={"supporter": supporter.subject},
        )
        requests = records.of_person(connection, ehealth_id)
    stores = HeldStores(steps).of_number(ehealth_id)
    with steps.registry.read() as connection:
        notices = {held.store.id: outbox.of_store(connection, held.store.id) for held in stores}
    return Findings(requests=requests, stores=stores, notices=notices)
