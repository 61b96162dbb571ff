"""The address and its code (R10–R12): confirm the data, prove the address, begin the generation."""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from api.journey import records
from api.journey.ordering import order_store
from api.journey.records import NO_CODE, JourneyRequest, shown
from api.journey.steps import Person, Steps
from api.journey.tables import code_sends, requests
from api.journey.tokens import Recipient, parse_recipient
from api.mail.address import EmailAddress, parse_address
from api.mail.errors import MailError
from api.mail.messages import code_message
from api.texts import Language
from issuer.audit.events import Detail
from issuer.faults import FaultPoint, fault_point
from policies.codes import check_hourly, check_resend, check_sends, check_shape, check_usable
from policies.errors import CodeInvalid, WrongState
from policies.lifecycle import RequestEvent, RequestState, next_request_state
from policies.terms import check_accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer to the right code: the request, and the delivery token that alone opens its store.

    No token where the store is sealed to a key of the caller's own.
    """

    request: JourneyRequest
    token: bytes | None = field(repr=False)


class Verification:
    """Thread-safe; holds no state of its own between calls."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def set_email(
        self, person: Person, request_id: str, email: str, keystore_profile: str, language: Language
    ) -> JourneyRequest:
        """Confirm the data shown, name the address, and have a code sent to it."""
        request = self._steps.begin(person, request_id)
        check_accepted(request.terms_version, self._steps.texts.terms_version)
        next_request_state(request.state, RequestEvent.SEND_CODE)
        self._check_unchanged(person, request)
        return self._send_code(request, parse_address(email), keystore_profile, language)

    def resend(self, person: Person, request_id: str) -> JourneyRequest:
        """A new code to the same address, after a pause; the one before is worthless from then on."""
        request = self._steps.begin(person, request_id)
        if request.state is not RequestState.CODE_SENT or request.email is None:
            raise WrongState("no code was sent")
        check_accepted(request.terms_version, self._steps.texts.terms_version)
        self._check_unchanged(person, request)
        return self._send_code(
            request,
            parse_address(request.email),
            request.keystore_profile or "modern",
            Language(request.language or Language.FRENCH),
            pause=True,
        )

    def verify(
        self,
        person: Person,
        request_id: str,
        code: str,
        delivery_token: str | None,
        delivery_key: str | None = None,
    ) -> Accepted:
        """The right code begins the generation. With the caller's token or key it can be repeated (R14)."""
        request = self._steps.begin(person, request_id)
        brought = parse_recipient(delivery_token, delivery_key)
        sealed_to = Recipient.of_token(self._steps.random(32)) if brought is None else brought
        recipient = sealed_to.public_key
        digest = self._steps.codes.hash_code(request.id, code)
        if brought is not None and self._repeats(request, recipient, digest):
            if request.state is RequestState.GENERATING and request.store_id is None:
                # Whether the first order arrived is not known; the issuer takes it once.
                request = order_store(self._steps, person, request, repeated=True)
            return Accepted(request=request, token=sealed_to.token)
        if request.state is not RequestState.CODE_SENT:
            raise WrongState(f"no code is awaited in {request.state}")
        check_accepted(request.terms_version, self._steps.texts.terms_version)
        self._check_unchanged(person, request)
        check_shape(code)
        try:
            accepted = self._accept(request, digest, recipient)
        except WrongState:
            # Another call with the same code was first; with the same token it is the same act.
            latest = self._steps.look(person, request_id)
            if brought is not None and self._repeats(latest, recipient, digest):
                return Accepted(request=latest, token=sealed_to.token)
            raise
        fault_point(FaultPoint.CODE_ACCEPTED)
        ordered = order_store(self._steps, person, accepted, answerable=brought is not None)
        return Accepted(request=ordered, token=sealed_to.token)

    def _send_code(
        self,
        request: JourneyRequest,
        address: EmailAddress,
        keystore_profile: str,
        language: Language,
        *,
        pause: bool = False,
    ) -> JourneyRequest:
        """Count the send, mail the code, then let it count: a failed mail leaves the request as it was."""
        send_id = str(uuid.UUID(bytes=self._steps.random(16), version=4))
        number = self._reserve_send(request, send_id, address, pause=pause)
        code = self._steps.codes.make()
        try:
            self._steps.transport.send(
                code_message(
                    code,
                    address,
                    language=language,
                    lifetime_seconds=self._steps.config.code_lifetime,
                    message_id=send_id,
                    sender=self._steps.transport.sender,
                    now=self._steps.clock(),
                )
            )
        except MailError:
            with self._steps.database.write() as connection:
                records.release_send(connection, request, send_id, number)
            raise
        try:
            return self._steps.move(
                request,
                RequestEvent.SEND_CODE,
                requests.c.codes_sent == number,  # Else a later code is on its way.
                details={"sends": number},
                email=address.text,
                language=language,
                keystore_profile=keystore_profile,
                code_hmac=self._steps.codes.hash_code(request.id, code),
                code_expires_at=self._steps.clock() + timedelta(seconds=self._steps.config.code_lifetime),
                attempts_left=self._steps.config.code_attempts,
            )
        except WrongState:
            with self._steps.database.read() as connection:
                latest = records.find(connection, request.id, request.ehealth_id)
            if latest.state is RequestState.CODE_SENT:
                return latest  # A double click: the later code counts, and has been sent.
            raise

    def _reserve_send(
        self, request: JourneyRequest, send_id: str, address: EmailAddress, *, pause: bool
    ) -> int:
        """Raises TooManyRequests for whoever must wait, before anything is sent."""
        now, config = self._steps.clock(), self._steps.config
        hour_ago = now - timedelta(hours=1)
        address_hmac = self._steps.codes.hash_address(address.text)
        with self._steps.database.write() as connection:
            records.lock_sends(connection)
            to_person, to_address = (
                records.sends_since(connection, condition, hour_ago)
                for condition in (
                    code_sends.c.ehealth_id == request.ehealth_id,
                    code_sends.c.address_hmac == address_hmac,
                )
            )
            if pause:
                check_resend(now, to_person, pause=config.resend_pause)
            latest = records.find(connection, request.id, request.ehealth_id)
            check_sends(latest.codes_sent, most=config.sends_per_request)
            check_hourly(now, to_person, most=config.sends_per_hour)
            check_hourly(now, to_address, most=config.sends_per_hour)
            return records.reserve_send(connection, request, send_id, address_hmac, now)

    def _accept(self, request: JourneyRequest, digest: bytes, recipient: bytes) -> JourneyRequest:
        """Take one try, then look: what is compared is the hash that this try was taken from (R12).

        Raises CodeInvalid once the try is taken for good; WrongState, CodeExpired, CodeLocked.
        """
        now = self._steps.clock()
        with self._steps.database.write() as connection:
            reserved = records.reserve_attempt(connection, request, now)
            if reserved is None:
                latest = records.find(connection, request.id, request.ehealth_id)
                if latest.state is RequestState.CODE_SENT:
                    check_usable(now, latest.code_expires_at, latest.attempts_left)
                raise WrongState("the request has changed since it was read")
            if _same(reserved.code_hmac, digest):
                return records.move(
                    connection,
                    reserved,
                    RequestEvent.ACCEPT_CODE,
                    now,
                    recipient=recipient,
                    generating_at=now,
                    deadline=now + timedelta(seconds=self._steps.config.generation_bound),
                )
            details: dict[str, Detail] = {"attempts_left": reserved.attempts_left}
            records.note(connection, reserved, "code-wrong", now, details)
        raise CodeInvalid(reserved.attempts_left)

    @staticmethod
    def _repeats(request: JourneyRequest, recipient: bytes, digest: bytes) -> bool:
        """Whether a verification is one that succeeded before: same token, same code."""
        return (
            request.state in (RequestState.GENERATING, RequestState.READY)
            and _same(request.recipient, recipient)
            and _same(request.code_hmac, digest)
        )

    def _check_unchanged(self, person: Person, request: JourneyRequest) -> None:
        """What the person was shown is what will be certified, or they confirm it anew. Raises WrongState."""
        current = shown(person.identity)
        if all(getattr(request, name) == value for name, value in current.items()):
            return
        self._steps.move(request, RequestEvent.DATA_CHANGED, **NO_CODE, **current)
        raise WrongState("the provider's data changed after they were shown")


def _same(stored: bytes | None, computed: bytes) -> bool:
    return hmac.compare_digest(stored or b"", computed)
