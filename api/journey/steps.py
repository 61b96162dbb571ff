"""What every step of a journey begins with: the person, their request, the gates, the state of things.

Nothing here trusts a browser's idea of the state, so reload, back and a second tab are all
the same (R14): a request is first brought up to what the registry says of its store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import structlog

from api.internal.client import IssuerClient
from api.journey import records
from api.journey.records import JourneyRequest
from api.problems import RemoteProblem
from issuer.clock import Clock
from issuer.errors import CaUnavailable
from issuer.identity.identity import Identity
from issuer.registry import deliveries, stores
from issuer.registry.database import Database
from policies.eligibility import GateRefused, check_eligible, check_owner
from policies.errors import WrongState
from policies.lifecycle import RequestEvent, RequestState, StoreStatus

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who calls: the proven identity, and the assertion it came from, to forward to the issuer."""

    identity: Identity
    assertion: str = field(repr=False)

    @property
    def ehealth_id(self) -> str:
        """Raises a GateRefused where the person is not one who can own anything here."""
        check_owner(self.identity.standing, has_ehealth_id=self.identity.ehealth_id is not None)
        return str(self.identity.ehealth_id)


class Steps:
    """Thread-safe; holds no state of its own between calls."""

    def __init__(self, *, database: Database, registry: Database, issuer: IssuerClient, clock: Clock) -> None:
        self.database = database
        self.registry = registry
        self.issuer = issuer
        self.clock = clock

    def load(self, person: Person, request_id: str) -> JourneyRequest:
        with self.database.read() as connection:
            return records.find(connection, request_id, person.ehealth_id)

    def begin(self, person: Person, request_id: str) -> JourneyRequest:
        """Load a request for a step of its owner. A gate lost half-way ends it (R4)."""
        if person.identity.ehealth_id is None:
            check_eligible(person.identity.standing)
        with self.database.read() as connection:
            request = records.find(connection, request_id, str(person.identity.ehealth_id))
        request = self.synchronise(request)
        try:
            check_eligible(person.identity.standing)
        except GateRefused as lost:
            if request.unfinished:
                self._reject(person, request, lost)
            raise
        return request

    def _reject(self, person: Person, request: JourneyRequest, lost: GateRefused) -> None:
        with self.database.write() as connection:
            records.move(
                connection,
                request,
                RequestEvent.REJECT,
                self.clock(),
                details={"gate": lost.code},
                code_hmac=None,
            )
        if request.begun:
            try:
                self.issuer.abandon(person.assertion, request.id)
            except (CaUnavailable, RemoteProblem) as error:
                # The delivery's deadline ends it at the latest; nobody else can fetch it.
                log.warning("abandon-failed", request=request.id, cause=type(error).__name__)

    def synchronise(self, request: JourneyRequest) -> JourneyRequest:
        """Bring a request up to what the registry says of its store, and to the clock."""
        event, values = self._outcome(request)
        if event is None:
            return request
        try:
            with self.database.write() as connection:
                moved = records.move(connection, request, event, self.clock(), **values)
        except WrongState:
            with self.database.read() as connection:
                return records.find(connection, request.id, request.ehealth_id)
        return self.synchronise(moved)

    def _outcome(self, request: JourneyRequest) -> tuple[RequestEvent | None, dict[str, Any]]:
        if request.state not in (RequestState.GENERATING, RequestState.READY):
            return None, {}
        with self.registry.read() as connection:
            store = stores.of_request(connection, request.id)
            delivery = None if store is None else deliveries.of_store(connection, store.id)
        now = self.clock()
        if request.state is RequestState.GENERATING:
            if store is not None and store.status is StoreStatus.ACTIVE:
                deadline = now if delivery is None else delivery.deadline
                return RequestEvent.GENERATED, {"store_id": store.id, "deadline": deadline}
            if store is not None and store.status is not StoreStatus.ISSUING:
                return RequestEvent.FAIL, {"store_id": store.id}
            late = request.deadline is not None and now >= request.deadline
            return (RequestEvent.DEADLINE, {}) if late else (None, {})
        if store is None or store.status is not StoreStatus.ACTIVE:
            return RequestEvent.FAIL, {}
        if delivery is None or now >= delivery.deadline:
            return RequestEvent.DEADLINE, {"code_hmac": None, "recipient": None}
        return None, {}
