"""What every step of a journey begins with: the person, the gates, their request, the state of things.

Nothing here trusts a browser's idea of the state, so reload, back and a second tab are all
the same (R14): a request is first brought up to what the registry says of its store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from api.internal.client import IssuerClient
from api.journey import records
from api.journey.codes import CodeBook
from api.journey.config import JourneyConfig
from api.journey.records import JourneyRequest
from api.mail.transport import Transport
from api.problems import RemoteProblem
from api.texts import Texts
from issuer.clock import Clock, RandomBytes
from issuer.errors import CaUnavailable
from issuer.identity.identity import Identity
from issuer.registry import deliveries, stores
from issuer.registry.database import Database
from policies.eligibility import GateRefused, check_eligible, check_owner
from policies.errors import WrongState
from policies.lifecycle import RequestEvent, RequestState, StoreStatus
from policies.renewal import RenewalRules

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


@dataclass(slots=True, kw_only=True, eq=False)
class Steps:
    """With all that the use cases work with. Thread-safe; holds no state of its own between calls."""

    database: Database
    registry: Database
    issuer: IssuerClient
    transport: Transport
    codes: CodeBook
    texts: Texts
    config: JourneyConfig
    renewal: RenewalRules
    clock: Clock
    random: RandomBytes

    def begin(self, person: Person, request_id: str) -> JourneyRequest:
        """A person's request, for a step in it. Raises NotFound, or a GateRefused for whoever lost a gate."""
        self.admit(person)
        return self.look(person, request_id)

    def look(self, person: Person, request_id: str) -> JourneyRequest:
        """A person's request as it stands now. Raises NotFound; another person's is not found either."""
        check_eligible(person.identity.standing)
        with self.database.read() as connection:
            found = records.find(connection, request_id, person.ehealth_id)
        return self.synchronise(found)

    def admit(self, person: Person) -> None:
        """Judge the gates again (R4). One that was lost half-way ends what the person has unfinished."""
        try:
            check_eligible(person.identity.standing)
        except GateRefused as lost:
            if person.identity.ehealth_id is not None:
                self._reject(person, person.identity.ehealth_id, lost)
            raise

    def _reject(self, person: Person, ehealth_id: str, lost: GateRefused) -> None:
        with self.database.read() as connection:
            request = records.unfinished(connection, ehealth_id)
        if request is None:
            return
        request = self.synchronise(request)
        if request.unfinished:
            # Where it stays as it is, whoever has lost the gate cannot go on with it: the next step ends it.
            self.end(person, request, RequestEvent.REJECT, details={"gate": lost.code})

    def move(
        self, request: JourneyRequest, event: RequestEvent, *conditions: sa.ColumnElement[bool], **more: Any
    ) -> JourneyRequest:
        """One transition (``records.move``) in a transaction of its own. Raises WrongState."""
        with self.database.write() as connection:
            return records.move(connection, request, event, self.clock(), *conditions, **more)

    def end(
        self,
        person: Person,
        request: JourneyRequest,
        event: RequestEvent,
        *conditions: sa.ColumnElement[bool],
        begun: bool = True,
        **more: Any,
    ) -> None:
        """What it has begun is revoked, then it moves. Where one of them fails, it stays as it is.

        ``begun`` is false where the issuer is known to have begun nothing.
        """
        try:
            if begun:
                self.abandon(person, request)
            self.move(request, event, *conditions, **more)
        except (CaUnavailable, RemoteProblem, WrongState) as error:
            log.warning("not-ended", request=request.id, by=event, cause=type(error).__name__)

    def abandon(self, person: Person, request: JourneyRequest) -> None:
        """Have the issuer revoke what an unfinished request had begun, before the request itself ends.

        In this order no end leaves an active store behind, whatever fails in between. Raises
        CaUnavailable, or WrongState where the registry knows of another end.
        """
        if not request.begun:
            return
        try:
            self.issuer.abandon(person.assertion, request.id)
        except RemoteProblem as refusal:
            if refusal.code != WrongState.code:
                raise
            raise WrongState("the store has been delivered") from refusal

    def synchronise(self, request: JourneyRequest) -> JourneyRequest:
        """Bring a request up to what the registry says of its store, and to the clock."""
        event, values = self._outcome(request)
        if event is None:
            return request
        try:
            actor = "holder" if event is RequestEvent.COMPLETE else "service"
            moved = self.move(request, event, actor=actor, **values)
        except WrongState:
            with self.database.read() as connection:
                return records.find(connection, request.id, request.ehealth_id)
        # Looked at so late that the deadline of its delivery has passed too.
        late = moved.deadline is not None and self.clock() >= moved.deadline
        return self.synchronise(moved) if late else moved

    def _outcome(self, request: JourneyRequest) -> tuple[RequestEvent | None, dict[str, Any]]:
        if request.state not in (RequestState.GENERATING, RequestState.READY):
            return None, {}
        with self.registry.read() as connection:
            store = stores.of_request(connection, request.id)
            delivery = None
            if store is not None and store.status is StoreStatus.ACTIVE:
                delivery = deliveries.of_store(connection, store.id)
        now = self.clock()
        late = request.deadline is not None and now >= request.deadline
        if request.state is RequestState.GENERATING:
            if store is not None and store.status is StoreStatus.ACTIVE:
                deadline = now if delivery is None else delivery.deadline
                return RequestEvent.GENERATED, {"store_id": store.id, "deadline": deadline}
            if store is not None and store.status is not StoreStatus.ISSUING:
                return RequestEvent.FAIL, {"store_id": store.id}
            return (RequestEvent.DEADLINE, {}) if late else (None, {})
        if store is None or store.status is not StoreStatus.ACTIVE:
            return RequestEvent.FAIL, {}
        if late:
            return RequestEvent.DEADLINE, {}
        # Before the deadline only its holder's completion takes a delivery away.
        return (RequestEvent.COMPLETE, {}) if delivery is None else (None, {})
