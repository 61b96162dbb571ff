"""The professional's way from "I want a store" to "I have it": every use case, for every front end.

Each step proves the person, loads their request, checks the gates again (R4), looks what
the issuer has made of it meanwhile, and then applies one transition. Nothing here trusts
the browser's idea of the state, so reload, back and a second tab are all the same (R14).
"""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from api.internal.client import IssuerClient, IssuerSilent
from api.internal.wire import OrderMessage
from api.journey import records
from api.journey.codes import CodeBook
from api.journey.config import JourneyConfig
from api.journey.records import JourneyRequest
from api.journey.tables import code_sends, requests
from api.mail.address import EmailAddress, parse_address
from api.mail.messages import code_message
from api.mail.transport import Transport
from api.texts import Language, Texts
from issuer.clock import Clock, RandomBytes
from issuer.errors import CaUnavailable, DeliveryExpired, DeliveryTokenInvalid, IssuerError, Overloaded
from issuer.identity.errors import AssertionRefused, AuthenticationTooOld
from issuer.identity.identity import Identity
from issuer.issuance.issuing import sealing_context
from issuer.issuance.keystore.sealing import derive_recipient, open_sealed
from issuer.registry import deliveries, stores
from issuer.registry.database import Database
from issuer.registry.deliveries import Part
from issuer.registry.stores import Store
from policies.codes import check_usable
from policies.eligibility import GateRefused, check_eligible, check_owner
from policies.errors import ActiveStoreExists, CodeInvalid, ConfirmationMissing, PolicyRefusal, WrongState
from policies.lifecycle import RequestEvent, RequestState, StoreStatus, next_request_state
from policies.reasons import DeactivationReason
from policies.terms import check_accepted

log = structlog.get_logger(__name__)

_STARTS = 8
"""Tries at taking the one place when several starts of a person race."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who calls: the proven identity, and the assertion it came from, to forward to the issuer."""

    identity: Identity
    assertion: str = field(repr=False)

    @property
    def ehealth_id(self) -> str:
        check_owner(self.identity.standing, has_ehealth_id=self.identity.ehealth_id is not None)
        return str(self.identity.ehealth_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The first answer after the right code. ``token`` is None where the caller brought its own."""

    request: JourneyRequest
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStore:
    store: Store
    delivered: bool


class Journey:
    """Thread-safe; holds no state of its own between calls."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Database,
        issuer: IssuerClient,
        transport: Transport,
        codes: CodeBook,
        texts: Texts,
        config: JourneyConfig,
        clock: Clock,
        random: RandomBytes,
    ) -> None:
        self._database = database
        self._registry = registry
        self._issuer = issuer
        self._transport = transport
        self._codes = codes
        self._texts = texts
        self._config = config
        self._rules = config.rules
        self._clock = clock
        self._random = random

    # Requests

    def start(self, person: Person, idempotency_key: str | None = None) -> JourneyRequest:
        """A new request; an unfinished one is superseded and what it had begun revoked (R14).

        Raises ActiveStoreExists, a GateRefused, or CaUnavailable where the earlier store
        cannot be revoked now.
        """
        check_eligible(person.identity.standing)
        for _ in range(_STARTS):
            with self._database.read() as connection:
                if idempotency_key is not None:
                    known = records.by_idempotency_key(connection, person.ehealth_id, idempotency_key)
                    if known is not None:
                        return self._synchronise(known)
                earlier = records.unfinished(connection, person.ehealth_id)
            if earlier is not None:
                earlier = self._synchronise(earlier)
            if earlier is not None and earlier.begun and earlier.unfinished:
                self._issuer.abandon(person.assertion, earlier.id)
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
        with self._database.read() as connection:
            found = records.unfinished(connection, person.ehealth_id)
        if found is None:
            return None
        found = self._synchronise(found)
        return found if found.unfinished else None

    def find(self, person: Person, request_id: str) -> JourneyRequest:
        """Raises NotFound; another person's request is not found either."""
        check_eligible(person.identity.standing)
        with self._database.read() as connection:
            found = records.find(connection, request_id, person.ehealth_id)
        return self._synchronise(found)

    def accept_terms(self, person: Person, request_id: str, version: str, language: Language) -> JourneyRequest:
        request = self._step(person, request_id)
        terms = self._texts.terms(language)
        next_request_state(request.state, RequestEvent.ACCEPT_TERMS)
        check_accepted(version, terms.version)
        now = self._clock()
        with self._database.write() as connection:
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

    def set_email(
        self, person: Person, request_id: str, email: str, keystore_profile: str, language: Language
    ) -> JourneyRequest:
        """Confirm the data shown, name the address, and have a code sent to it."""
        request = self._step(person, request_id)
        check_accepted(request.terms_version, self._texts.terms_version)
        next_request_state(request.state, RequestEvent.SEND_CODE)
        return self._send_code(person, request, parse_address(email), keystore_profile, language)

    def resend(self, person: Person, request_id: str) -> JourneyRequest:
        """A new code to the same address, after a pause; the one before is worthless from then on."""
        request = self._step(person, request_id)
        if request.state is not RequestState.CODE_SENT or request.email is None or request.code_sent_at is None:
            raise WrongState("no code was sent")
        check_accepted(request.terms_version, self._texts.terms_version)
        self._rules.check_resend(self._clock(), request.code_sent_at)
        return self._send_code(
            person,
            request,
            parse_address(request.email),
            request.keystore_profile or "modern",
            Language(request.language or Language.FRENCH),
        )

    def verify(self, person: Person, request_id: str, code: str, token: bytes | None) -> Accepted:
        """The right code begins the generation. With the caller's own token it can be repeated (R14)."""
        request = self._step(person, request_id)
        own_token = token if token is not None else self._random(32)
        recipient = derive_recipient(own_token)
        digest = self._codes.hash_code(request.id, code)
        if token is not None and self._repeats(request, recipient, digest):
            return Accepted(request=request, token=own_token)
        if request.state is not RequestState.CODE_SENT:
            raise WrongState(f"no code is awaited in {request.state}")
        check_accepted(request.terms_version, self._texts.terms_version)
        self._check_unchanged(person, request)
        reserved = self._reserve(request)
        if not hmac.compare_digest(reserved.code_hmac or b"", digest):
            self._note_wrong_code(reserved)
            raise CodeInvalid(reserved.attempts_left)
        now = self._clock()
        try:
            with self._database.write() as connection:
                accepted = records.move(
                    connection,
                    reserved,
                    RequestEvent.ACCEPT_CODE,
                    now,
                    requests.c.code_hmac == digest,
                    recipient=recipient,
                    generating_at=now,
                    deadline=now + timedelta(seconds=self._config.generation_bound),
                )
        except WrongState:
            # Another call with the same code was first; with the same token it is the same act.
            latest = self._load(person, request_id)
            if token is not None and self._repeats(latest, recipient, digest):
                return Accepted(request=latest, token=own_token)
            raise
        return Accepted(request=self._order(person, accepted), token=own_token)

    def fetch(self, person: Person, request_id: str, part: Part, token: bytes) -> bytes:
        """The password, or the PKCS#12, opened with the holder's own token and kept nowhere."""
        request = self._ready(person, request_id)
        recipient = derive_recipient(token)
        if request.recipient is None or not hmac.compare_digest(request.recipient, recipient):
            raise DeliveryTokenInvalid(request.id)
        sealed = self._issuer.collect(person.assertion, request.id, part, recipient)
        context = sealing_context(request.id, sealed.store_id)
        return open_sealed(token, part, sealed.ciphertext, context)

    def complete(self, person: Person, request_id: str) -> JourneyRequest:
        """Back to home: the sealed material goes (R17). Repeating it is harmless."""
        request = self._step(person, request_id)
        if request.state is RequestState.DELIVERED:
            return request
        if request.state is RequestState.EXPIRED:
            raise DeliveryExpired(request.id)
        next_request_state(request.state, RequestEvent.COMPLETE)
        self._issuer.complete(person.assertion, request.id)
        with self._database.write() as connection:
            return records.move(
                connection, request, RequestEvent.COMPLETE, self._clock(), code_hmac=None, recipient=None
            )

    def cancel(self, person: Person, request_id: str) -> None:
        """End an unfinished request; a store it had begun is revoked."""
        request = self._step(person, request_id)
        next_request_state(request.state, RequestEvent.CANCEL)
        if request.begun:
            self._issuer.abandon(person.assertion, request.id)
        with self._database.write() as connection:
            records.move(connection, request, RequestEvent.CANCEL, self._clock(), code_hmac=None)

    # Stores

    def stores(self, person: Person) -> list[HeldStore]:
        ehealth_id = person.ehealth_id
        with self._registry.read() as connection:
            return [self._held(connection, store) for store in stores.of_person(connection, ehealth_id)]

    def store(self, person: Person, store_id: str) -> HeldStore:
        """Raises NotFound, for another person's store too."""
        ehealth_id = person.ehealth_id
        with self._registry.read() as connection:
            found = stores.find_of_person(connection, store_id, ehealth_id)
            return self._held(connection, found)

    def deactivate(
        self, person: Person, store_id: str, reason: DeactivationReason, *, confirmed: bool
    ) -> HeldStore:
        """Final. Raises ConfirmationMissing, NotFound, AlreadyDeactivated, CaUnavailable."""
        self.store(person, store_id)
        if not confirmed:
            raise ConfirmationMissing
        self._issuer.deactivate(person.assertion, store_id, reason)
        return self.store(person, store_id)

    # The steps in between

    def _held(self, connection: Connection, store: Store) -> HeldStore:
        delivery = deliveries.of_store(connection, store.id)
        complete = delivery is not None and delivery.complete
        return HeldStore(store=store, delivered=store.delivered_at is not None or complete)

    def _holds_active(self, ehealth_id: str) -> bool:
        with self._registry.read() as connection:
            return any(s.status is StoreStatus.ACTIVE for s in stores.of_person(connection, ehealth_id))

    def _replace(
        self, person: Person, earlier: JourneyRequest | None, idempotency_key: str | None
    ) -> JourneyRequest:
        identity, now = person.identity, self._clock()
        with self._database.write() as connection:
            if earlier is not None and earlier.unfinished:
                records.move(connection, earlier, RequestEvent.SUPERSEDE, now, code_hmac=None)
            values: dict[str, object] = {
                "id": str(uuid.UUID(bytes=self._random(16), version=4)),
                "ehealth_id": person.ehealth_id,
                "idempotency_key": idempotency_key,
                **_shown(identity),
            }
            return records.insert(connection, values, now)

    def _load(self, person: Person, request_id: str) -> JourneyRequest:
        with self._database.read() as connection:
            return records.find(connection, request_id, person.ehealth_id)

    def _step(self, person: Person, request_id: str) -> JourneyRequest:
        """Load a request for a step of its owner. A gate lost half-way ends it (R4)."""
        if person.identity.ehealth_id is None:
            check_eligible(person.identity.standing)
        with self._database.read() as connection:
            request = records.find(connection, request_id, str(person.identity.ehealth_id))
        request = self._synchronise(request)
        try:
            check_eligible(person.identity.standing)
        except GateRefused as lost:
            if request.unfinished:
                self._reject(person, request, lost)
            raise
        return request

    def _reject(self, person: Person, request: JourneyRequest, lost: GateRefused) -> None:
        with self._database.write() as connection:
            records.move(
                connection, request, RequestEvent.REJECT, self._clock(), details={"gate": lost.code}, code_hmac=None
            )
        if request.begun:
            try:
                self._issuer.abandon(person.assertion, request.id)
            except (IssuerError, PolicyRefusal) as error:
                # The delivery's deadline ends it at the latest; nobody else can fetch it.
                log.warning("abandon-failed", request=request.id, cause=type(error).__name__)

    def _ready(self, person: Person, request_id: str) -> JourneyRequest:
        request = self._step(person, request_id)
        if request.state in (RequestState.DELIVERED, RequestState.EXPIRED):
            raise DeliveryExpired(request.id)
        if request.state is not RequestState.READY:
            raise WrongState(f"nothing to fetch in {request.state}")
        return request

    def _send_code(
        self,
        person: Person,
        request: JourneyRequest,
        address: EmailAddress,
        keystore_profile: str,
        language: Language,
    ) -> JourneyRequest:
        """Count the send, mail the code, then let it count: a mail that fails leaves the request as it was."""
        now = self._clock()
        hour_ago = now - timedelta(hours=1)
        address_hmac = self._codes.hash_address(address.text)
        send_id = str(uuid.UUID(bytes=self._random(16), version=4))
        with self._database.write() as connection:
            self._rules.check_sends(of_request=request.codes_sent)
            for condition in (
                code_sends.c.ehealth_id == request.ehealth_id,
                code_sends.c.address_hmac == address_hmac,
            ):
                self._rules.check_hourly(now, *records.sends_since(connection, condition, hour_ago))
            records.reserve_send(connection, request, send_id, address_hmac, now)
        code = self._codes.make()
        self._transport.send(
            code_message(
                code,
                address,
                language=language,
                lifetime_seconds=self._rules.lifetime,
                message_id=send_id,
                sender=self._transport.sender,
                now=now,
            )
        )
        now = self._clock()
        with self._database.write() as connection:
            return records.move(
                connection,
                request,
                RequestEvent.SEND_CODE,
                now,
                details={"sends": request.codes_sent + 1},
                email=address.text,
                language=language,
                keystore_profile=keystore_profile,
                code_hmac=self._codes.hash_code(request.id, code),
                code_sent_at=now,
                code_expires_at=self._rules.expiry(now),
                attempts_left=self._rules.attempts,
                **_shown(person.identity),
            )

    def _reserve(self, request: JourneyRequest) -> JourneyRequest:
        now = self._clock()
        with self._database.write() as connection:
            reserved = records.reserve_attempt(connection, request, now)
            if reserved is None:
                latest = records.find(connection, request.id, request.ehealth_id)
                if latest.state is RequestState.CODE_SENT:
                    check_usable(now, latest.code_expires_at, latest.attempts_left)
                raise WrongState("the request has changed since it was read")
        return reserved

    def _note_wrong_code(self, request: JourneyRequest) -> None:
        with self._database.write() as connection:
            records.note(
                connection, request, "code-wrong", self._clock(), {"attempts_left": request.attempts_left}
            )

    @staticmethod
    def _repeats(request: JourneyRequest, recipient: bytes, digest: bytes) -> bool:
        """Whether a verification is one that succeeded before: same token, same code."""
        return (
            request.state in (RequestState.GENERATING, RequestState.READY)
            and hmac.compare_digest(request.recipient or b"", recipient)
            and hmac.compare_digest(request.code_hmac or b"", digest)
        )

    def _check_unchanged(self, person: Person, request: JourneyRequest) -> None:
        """What the person confirmed is what will be certified, or they confirm anew."""
        if all(getattr(request, name) == value for name, value in _shown(person.identity).items()):
            return
        with self._database.write() as connection:
            records.move(
                connection,
                request,
                RequestEvent.DATA_CHANGED,
                self._clock(),
                code_hmac=None,
                code_expires_at=None,
                attempts_left=0,
                **_shown(person.identity),
            )
        raise WrongState("the provider's data changed after they were confirmed")

    def _order(self, person: Person, request: JourneyRequest) -> JourneyRequest:
        """Hand the accepted request to the issuer, which proves everything again by itself."""
        assert request.generating_at is not None and request.terms_accepted_at is not None  # noqa: S101
        message = OrderMessage(
            request_id=request.id,
            email=request.email or "",
            language=request.language or "",
            keystore_profile="legacy" if request.keystore_profile == "legacy" else "modern",
            recipient=request.recipient or b"",
            terms_version=request.terms_version or "",
            terms_sha256=request.terms_sha256 or "",
            terms_language=request.terms_language or "",
            terms_accepted_at=request.terms_accepted_at,
            accepted_at=request.generating_at,
        )
        try:
            ordered = self._issuer.order(person.assertion, message)
        except IssuerSilent:
            raise  # It may have begun; the registry will tell.
        except (CaUnavailable, Overloaded, AssertionRefused, AuthenticationTooOld):
            # Nothing was begun: the same code may be tried again while it lives.
            self._withdraw(request, RequestEvent.DEFER, attempts_left=requests.c.attempts_left + 1)
            raise
        except GateRefused:
            self._withdraw(request, RequestEvent.REJECT)
            raise
        except (PolicyRefusal, IssuerError):
            self._withdraw(request, RequestEvent.FAIL)
            raise
        with self._database.write() as connection:
            connection.execute(
                requests.update().where(requests.c.id == request.id).values(store_id=ordered.store_id)
            )
            latest = records.find(connection, request.id, request.ehealth_id)
        if not latest.unfinished:
            # Cancelled between our transition and the order: nobody waits for this store.
            self._issuer.abandon(person.assertion, request.id)
        return latest

    def _withdraw(self, request: JourneyRequest, event: RequestEvent, **values: object) -> None:
        try:
            with self._database.write() as connection:
                records.move(
                    connection,
                    request,
                    event,
                    self._clock(),
                    generating_at=None,
                    deadline=None,
                    recipient=None,
                    **values,
                )
        except WrongState:
            log.info("request-changed-meanwhile", request=request.id)

    def _synchronise(self, request: JourneyRequest) -> JourneyRequest:
        """Bring a request up to what the registry says of its store, and to the clock."""
        event, values = self._outcome(request)
        if event is None:
            return request
        try:
            with self._database.write() as connection:
                moved = records.move(connection, request, event, self._clock(), **values)
        except WrongState:
            with self._database.read() as connection:
                return records.find(connection, request.id, request.ehealth_id)
        return self._synchronise(moved)

    def _outcome(self, request: JourneyRequest) -> tuple[RequestEvent | None, dict[str, object]]:
        if request.state not in (RequestState.GENERATING, RequestState.READY):
            return None, {}
        with self._registry.read() as connection:
            store = stores.of_request(connection, request.id)
            delivery = None if store is None else deliveries.of_store(connection, store.id)
        now = self._clock()
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

    # Housekeeping

    def sweep(self) -> int:
        """Bring what is in progress up to date, and purge what a day has passed over (R32)."""
        with self._database.read() as connection:
            waiting = records.in_progress(connection)
        for request in waiting:
            self._synchronise(request)
        now = self._clock()
        with self._database.write() as connection:
            return records.purge(connection, now - timedelta(hours=self._config.purge_hours), now)


def _shown(identity: Identity) -> dict[str, object]:
    """What the person is shown of themselves and confirms (R9)."""
    return {
        "given_name": identity.given_name,
        "family_name": identity.family_name,
        "profession_code": identity.profession_code or "",
        "profession_label": identity.profession_label,
    }

