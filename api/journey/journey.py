"""The professional's way from "I want a store" to "I have it", the address and its code aside.

Each use case proves the person, loads their request, checks the gates again (R4), and then
applies one transition. Every front end calls these and holds no logic of its own.
"""

from __future__ import annotations

import contextlib
import hmac
import uuid
from datetime import timedelta

from sqlalchemy.exc import IntegrityError, OperationalError

from api.journey import records
from api.journey.records import NO_CODE, JourneyRequest, shown
from api.journey.steps import Person, Steps
from api.journey.tokens import parse_recipient
from api.texts import Language
from issuer.errors import DeliveryExpired, DeliveryTokenInvalid, NotFound, Overloaded
from issuer.issuance.keystore.sealing import SealRefused, open_sealed
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

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def start(self, person: Person, idempotency_key: str | None = None) -> JourneyRequest:
        """A new request; an unfinished one is superseded and what it had begun revoked (R14).

        Raises ActiveStoreExists, a GateRefused, or CaUnavailable where the earlier store
        cannot be revoked now.
        """
        return self._start(person, idempotency_key, renews=None)

    def renew(self, person: Person, store_id: str, idempotency_key: str | None = None) -> JourneyRequest:
        """A request for the successor of an active store, which makes way when that is active (R22).

        Raises NotFound, AlreadyDeactivated, RenewalTooEarly, and what ``start`` raises.
        """
        self._steps.admit(person)
        with self._steps.registry.read() as connection:
            store = stores.find_of_person(connection, store_id, person.ehealth_id)
        self._steps.renewal.check(self._steps.clock(), store.status, store.not_after)
        return self._start(person, idempotency_key, renews=store.id)

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
        """Raises NotFound; another person's request is not found either. Looking ends nothing."""
        return self._steps.look(person, request_id)

    def accept_terms(
        self, person: Person, request_id: str, version: str, language: Language
    ) -> JourneyRequest:
        request = self._steps.begin(person, request_id)
        terms = self._steps.texts.terms(language)
        next_request_state(request.state, RequestEvent.ACCEPT_TERMS)
        check_accepted(version, terms.version)
        try:
            return self._steps.move(
                request,
                RequestEvent.ACCEPT_TERMS,
                details={"version": version, "sha256": terms.sha256, "language": language},
                terms_version=version,
                terms_sha256=terms.sha256,
                terms_language=language,
                terms_accepted_at=self._steps.clock(),
                **NO_CODE,
                **shown(person.identity),
            )
        except WrongState:
            latest = self._steps.look(person, request_id)
            if latest.state is RequestState.TERMS_ACCEPTED and latest.terms_version == version:
                return latest  # A double click: the other one has accepted them.
            raise

    def fetch(
        self,
        person: Person,
        request_id: str,
        part: Part,
        delivery_token: str | None,
        delivery_key: str | None = None,
    ) -> bytes:
        """The password, or the PKCS#12: opened with the holder's own token and kept nowhere.

        As ciphertext where it was sealed to a key of the caller's own.
        """
        request = self._steps.begin(person, request_id)
        if request.state in (RequestState.DELIVERED, RequestState.EXPIRED):
            raise DeliveryExpired(request.id)
        if request.state is not RequestState.READY:
            raise WrongState(f"nothing to fetch in {request.state}")
        recipient = parse_recipient(delivery_token, delivery_key)
        if recipient is None or not hmac.compare_digest(request.recipient or b"", recipient.public_key):
            raise DeliveryTokenInvalid(request.id)
        sealed = self._steps.issuer.collect(person.assertion, request.id, part, recipient.public_key)
        if recipient.token is None:
            return sealed.ciphertext
        context = sealing_context(request.id, sealed.store_id)
        try:
            return open_sealed(recipient.token, sealed.ciphertext, part=part, context=context)
        except SealRefused:
            raise DeliveryTokenInvalid(request.id) from None

    def complete(self, person: Person, request_id: str) -> JourneyRequest:
        """Back to home: the sealed material goes (R17). Repeating it is harmless."""
        request = self._steps.begin(person, request_id)
        if request.state is RequestState.DELIVERED:
            return request
        if request.state is RequestState.EXPIRED:
            raise DeliveryExpired(request.id)
        next_request_state(request.state, RequestEvent.COMPLETE)
        self._steps.issuer.complete(person.assertion, request.id)
        completed = self._steps.synchronise(request)
        if completed.state is not RequestState.DELIVERED:
            # Nothing is delivered that was cancelled, or whose store was ended, in the same moment.
            raise WrongState(f"ended as {completed.state}")
        return completed

    def cancel(self, person: Person, request_id: str) -> None:
        """End an unfinished request; a store it had begun is revoked."""
        request = self._steps.begin(person, request_id)
        next_request_state(request.state, RequestEvent.CANCEL)
        self._steps.abandon(person, request)
        try:
            self._steps.move(request, RequestEvent.CANCEL)
        except WrongState:
            # A second cancel, or a look that found the store revoked just now, was first: it has ended.
            if self._steps.look(person, request_id).unfinished:
                raise

    def sweep(self) -> int:
        """End what is past its deadline, and purge what a day has passed over (R32).

        What else happens to a store is taken up when somebody looks at its request.
        """
        now = self._steps.clock()
        with self._steps.database.read() as connection:
            overdue = records.overdue(connection, now)
        for request in overdue:
            # A registry that is away keeps nothing from being purged.
            with contextlib.suppress(NotFound, OperationalError):
                self._steps.synchronise(request)
        before = now - timedelta(hours=self._steps.config.purge_hours)
        with self._steps.database.read() as connection:
            forgotten = records.forgotten(connection, before)
        for request in forgotten:
            with contextlib.suppress(WrongState):
                self._steps.move(request, RequestEvent.DEADLINE, actor="service")
        with self._steps.database.write() as connection:
            return records.purge(connection, before, now)

    def _start(self, person: Person, idempotency_key: str | None, renews: str | None) -> JourneyRequest:
        self._steps.admit(person)
        for _ in range(_STARTS):
            with self._steps.database.read() as connection:
                if idempotency_key is not None:
                    known = records.by_idempotency_key(connection, person.ehealth_id, idempotency_key)
                    if known is not None:
                        return self._steps.synchronise(known)
                earlier = records.unfinished(connection, person.ehealth_id)
            try:
                if earlier is not None:
                    earlier = self._steps.synchronise(earlier)
                self._check_no_active(person.ehealth_id, earlier, renews)
                if earlier is not None and earlier.unfinished:
                    self._steps.abandon(person, earlier)
                return self._replace(person, earlier, idempotency_key, renews)
            except (IntegrityError, WrongState):
                continue  # Another start, or a step of the earlier request, came between.
        raise Overloaded("too many starts at once")

    def _check_no_active(self, ehealth_id: str, earlier: JourneyRequest | None, renews: str | None) -> None:
        """None but the one that is renewed, or the earlier request's, which is about to be revoked."""
        begun = earlier.id if earlier is not None and earlier.unfinished else None
        with self._steps.registry.read() as connection:
            for store in stores.of_person(connection, ehealth_id):
                if store.status is not StoreStatus.ACTIVE or store.id == renews:
                    continue
                if store.request_id != begun:
                    raise ActiveStoreExists

    def _replace(
        self, person: Person, earlier: JourneyRequest | None, idempotency_key: str | None, renews: str | None
    ) -> JourneyRequest:
        now = self._steps.clock()
        with self._steps.database.write() as connection:
            if earlier is not None and earlier.unfinished:
                records.move(connection, earlier, RequestEvent.SUPERSEDE, now)
            values: dict[str, object] = {
                "id": str(uuid.UUID(bytes=self._steps.random(16), version=4)),
                "ehealth_id": person.ehealth_id,
                "idempotency_key": idempotency_key,
                "renews": renews,
                **shown(person.identity),
            }
            return records.insert(connection, values, now)
