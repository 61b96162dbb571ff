"""Answers signed on demand: for a nonce, for several certificates at once, for serials unknown to status.

Signing costs the token's time and anybody may ask, so known and unknown serials have a
bucket each: a flood of made-up serials leaves the nonces of real clients alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from hsm.errors import HsmError
from issuer.errors import CaUnavailable, Overloaded
from issuer.issuance.templates import serial_text
from issuer.publisher.metrics import LIVE
from issuer.publisher.ocsp import SingleAnswer, Status, build_answer
from issuer.publisher.ocsp_request import CertId, OcspError, parse_request
from issuer.publisher.signer import Signer
from issuer.registry import status

_UNKNOWN_LIFE = timedelta(minutes=5)
"""A serial that is unknown now may be issued in a moment."""
_LONGEST_SERIAL = 160
"""Bits: RFC 5280 4.1.2.2 allows 20 octets; no longer one is looked for."""


class Bucket:
    """So many tokens a second, and at most ``burst`` saved up. Thread-safe."""

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._rate, self._burst, self._monotonic = rate, burst, monotonic
        self._lock = threading.Lock()
        self._tokens, self._at = float(burst), monotonic()

    def take(self) -> None:
        """Raises Overloaded."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                raise Overloaded("answers signed on demand")
            self._tokens -= 1


class LiveResponder:
    """Thread-safe; lives in the publisher's process."""

    def __init__(self, signer: Signer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._signer, self._database, self._clock = signer, signer.database, signer.clock
        config = signer.config
        self._unknown = config.unknown
        self._life = timedelta(seconds=config.answer_life)
        self._known_bucket = Bucket(config.live_rate, config.live_burst, monotonic)
        self._unknown_bucket = Bucket(config.live_rate, config.live_burst, monotonic)
        self._issuers = {one.issuer for one in CertId.both(signer.issuer)}

    def answer(self, der: bytes) -> bytes:
        """An OCSP answer in DER, the unsigned error answers among them.

        Raises Overloaded, CaUnavailable, AuthorityRefused, and what the database raises.
        """
        try:
            request = parse_request(der)
            if any(cert_id.issuer not in self._issuers for cert_id in request.cert_ids):
                raise OcspError("unauthorized", "another issuer's certificate")
            # Read before the registry is: an answer never claims to be newer than what it knows.
            now = self._clock()
            found = [SingleAnswer(cert_id=one, status=self._standing(one)) for one in request.cert_ids]
        except OcspError as error:
            LIVE.labels(error.status).inc()
            return error.answer
        unknown = any(one.status == "unknown" for one in found)
        (self._unknown_bucket if unknown else self._known_bucket).take()
        responder = self._signer.responder()
        life = _UNKNOWN_LIFE if unknown else self._life
        try:
            answer = build_answer(
                responder,
                found,
                this_update=now,
                next_update=min(now + life, responder.not_after),
                nonce=request.nonce,
            )
        except HsmError as error:
            raise CaUnavailable(str(error)) from error
        LIVE.labels("unknown" if unknown else "signed").inc()
        return answer

    def _standing(self, cert_id: CertId) -> Status:
        """Raises OcspError where nothing can be vouched for (RFC 9919 4.2.3, after RFC 5019 2.2.3)."""
        if cert_id.serial <= 0:
            raise OcspError("unauthorized", "no certificate has such a serial")
        subject = None
        if cert_id.serial.bit_length() <= _LONGEST_SERIAL:
            with self._database.read() as connection:
                subject = status.subject(connection, self._signer.authority, serial_text(cert_id.serial))
        if subject is None:
            if self._unknown == "unauthorized":
                raise OcspError("unauthorized", "never issued")
            return "unknown"
        if subject.revocation is not None:
            return subject.revocation
        if subject.not_after < self._clock():
            raise OcspError("unauthorized", "expired")
        return "good"
