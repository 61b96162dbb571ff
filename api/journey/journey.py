"""The professional's way from "I want a store" to "I have it", the address and its code aside.

Each use case proves the person, loads their request, checks the gates again (R4), and then
applies one transition. Every front end calls these and holds no logic of its own.
"""

from __future__ import annotations

import hmac
import uuid
from datetime import timedelta

from sqlalchemy.exc import IntegrityError

from api.journey import records
from api.journey.config import JourneyConfig
from api.journey.records import JourneyRequest, shown
from api.journey.steps import Person, Steps
from api.journey.tokens import parse_delivery_token
from api.texts import Language, Texts
from issuer.clock import RandomBytes
from issuer.errors import DeliveryExpired, DeliveryTokenInvalid, Overloaded
from issuer.issuance.keystore.sealing import derive_recipient, open_sealed
from issuer.registry import stores
from issuer.registry.deliveries import Part, sealing_context
from policies.eligibility import check_eligible
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import RequestEvent, RequestState, StoreStatus, next_request_state
from policies.terms import check_accepted

_STARTS = 8
"""Tries at taking the one place when several starts of a person race."""


class Journey:
    """Thread-safe; holds no state of its own between calls."""

    def __init__(self, steps: Steps, *, texts: Texts, config: JourneyConfig, random: RandomBytes) -> None:
        self._steps = steps
        self._texts = texts
        self._config = config
        self._random = random

    def start(self, person: Person, idempotency_key: str | None = None) -> JourneyRequest:
        """A new request; an unfinished one is superseded and what it had begun revoked (R14).

        Raises ActiveStoreExists, a GateRefused, or CaUnavailable where the earlier store
        cannot be revoked now.
        """
        check_eligible(person.identity.standing)
        for _ in range(_STARTS):
            with self._steps.database.read() as connection:
                if idempotency_key is not None:
                    known = records.by_idempotency_key(connection, person.ehealth_id, idempotency_key)
                    if known is not None:
                        return self._steps.synchronise(known)
                earlier = records.unfinished(connection, person.ehealth_id)
            if earlier is not None:
                earlier = self._steps.synchronise(earlier)
            if earlier is not None and earlier.begun and earlier.unfinished:
                self._steps.issuer.abandon(person.assertion, earlier.id)
            if self._holds_active(person.ehealth_id):
                raise ActiveStoreExists
            try:
                return self._replace(person, earlier, idempotency_key)
            except (IntegrityError, WrongState):
                continue  # Another start, or a step of the earlier request, came between.
        raise Overloaded("too many starts at once")

    def current(self, person: Person) -> JourneyRequest | None:
        """The unfinished request, as it stands now."""
        check_eligible(person.identity.standing)
        with self._steps.database.read() as connection:
            found = records.unfinished(connection, person.ehealth_id)
        if found is None:
            return None
        found = self._steps.synchronise(found)
        return found if found.unfinished else None

    def find(self, person: Person, request_id: str) -> JourneyRequest:
        """Raises NotFound; another person's request is not found either."""
        check_eligible(person.identity.standing)
        with self._steps.database.read() as connection:
            found = records.find(connection, request_id, person.ehealth_id)
        return self._steps.synchronise(found)

    def accept_terms(
        self, person: Person, request_id: str, version: str, language: Language
    ) -> JourneyRequest:
        request = self._steps.begin(person, request_id)
        terms = self._texts.terms(language)
        next_request_state(request.state, RequestEvent.ACCEPT_TERMS)
        check_accepted(version, terms.version)
        now = self._steps.clock()
        with self._steps.database.write() as connection:
            return records.move(
                connection,
                request,
                RequestEvent.ACCEPT_TERMS,
                now,
                details={"version": version, "sha256": terms.sha256, "language": terms.language},
                terms_version=version,
                terms_sha256=terms.sha256,
                terms_language=terms.language,
                terms_accepted_at=now,
                code_hmac=None,
                code_expires_at=None,
                attempts_left=0,
            )

    def fetch(self, person: Person, request_id: str, part: Part, delivery_token: str | None) -> bytes:
        """The password, or the PKCS#12, opened with the holder's own token and kept nowhere."""
        request = self._ready(person, request_id)
        token = parse_delivery_token(delivery_token)
        recipient = derive_recipient(token)
        if request.recipient is None or not hmac.compare_digest(request.recipient, recipient):
            raise DeliveryTokenInvalid(request.id)
        sealed = self._steps.issuer.collect(person.assertion, request.id, part, recipient)
        context = sealing_context(request.id, sealed.store_id)
        return open_sealed(token, sealed.ciphertext, part=part, context=context)

    def complete(self, person: Person, request_id: str) -> JourneyRequest:
        """Back to home: the sealed material goes (R17). Repeating it is harmless."""
        request = self._steps.begin(person, request_id)
        if request.state is RequestState.DELIVERED:
            return request
        if request.state is RequestState.EXPIRED:
            raise DeliveryExpired(request.id)
        next_request_state(request.state, RequestEvent.COMPLETE)
        self._steps.issuer.complete(person.assertion, request.id)
        with self._steps.database.write() as connection:
            return records.move(
                connection,
                request,
                RequestEvent.COMPLETE,
                self._steps.clock(),
                code_hmac=None,
                recipient=None,
            )

    def cancel(self, person: Person, request_id: str) -> None:
        """End an unfinished request; a store it had begun is revoked."""
        request = self._steps.begin(person, request_id)
        next_request_state(request.state, RequestEvent.CANCEL)
        if request.begun:
            self._steps.issuer.abandon(person.assertion, request.id)
        with self._steps.database.write() as connection:
            records.move(connection, request, RequestEvent.CANCEL, self._steps.clock(), code_hmac=None)

    def sweep(self) -> int:
        """Bring what is in progress up to date, and purge what a day has passed over (R32)."""
        with self._steps.database.read() as connection:
            waiting = records.in_progress(connection)
        for request in waiting:
            self._steps.synchronise(request)
        now = self._steps.clock()
        with self._steps.database.write() as connection:
            return records.purge(connection, now - timedelta(hours=self._config.purge_hours), now)

    def _holds_active(self, ehealth_id: str) -> bool:
        with self._steps.registry.read() as connection:
            return any(s.status is StoreStatus.ACTIVE for s in stores.of_person(connection, ehealth_id))

    def _replace(
        self, person: Person, earlier: JourneyRequest | None, idempotency_key: str | None
    ) -> JourneyRequest:
        identity, now = person.identity, self._steps.clock()
        with self._steps.database.write() as connection:
            if earlier is not None and earlier.unfinished:
                records.move(connection, earlier, RequestEvent.SUPERSEDE, now, code_hmac=None)
            values: dict[str, object] = {
                "id": str(uuid.UUID(bytes=self._random(16), version=4)),
                "ehealth_id": person.ehealth_id,
                "idempotency_key": idempotency_key,
                **shown(identity),
            }
            return records.insert(connection, values, now)

    def _ready(self, person: Person, request_id: str) -> JourneyRequest:
        request = self._steps.begin(person, request_id)
        if request.state in (RequestState.DELIVERED, RequestState.EXPIRED):
            raise DeliveryExpired(request.id)
        if request.state is not RequestState.READY:
            raise WrongState(f"nothing to fetch in {request.state}")
        return request
