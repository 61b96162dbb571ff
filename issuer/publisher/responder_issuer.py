"""The issuer's part in renewing the OCSP signer: a certificate for the key of the ceremony, no other.

The publisher proves that it has the key; a new key is a matter for a ceremony. A crash leaves
a serial written down without a signature: it is revoked when the next request comes.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from hsm.errors import HsmError
from issuer.audit.events import record
from issuer.clock import Clock, RandomBytes
from issuer.errors import CaUnavailable, IssuerError
from issuer.issuance.authority import Authority
from issuer.issuance.crl import encode_entry
from issuer.issuance.keystore.keypairs import PublicKey
from issuer.issuance.profiles import Profile
from issuer.publisher.config import PublisherConfig
from issuer.registry import responders, status
from issuer.registry.database import Database
from issuer.registry.tables import audit_events
from policies.reasons import X509Reason

log = structlog.get_logger(__name__)

_GIVEN_UP = timedelta(minutes=5)
"""Another issuer may be signing what was written down just now."""


class RenewalRefused(IssuerError):
    """Not a sound request, or not for the OCSP signer's key."""

    code = "invalid-request"


class ResponderIssuer:
    """Thread-safe; lives in the issuer's process."""

    def __init__(
        self,
        *,
        database: Database,
        authority: Authority,
        profile: Profile,
        key: PublicKey,
        config: PublisherConfig,
        clock: Clock,
        random: RandomBytes,
    ) -> None:
        """``key`` is the one in the ceremony's ``ocsp.cer``."""
        self._database = database
        self._authority = authority
        self._profile = profile
        self._key = key
        self._config = config
        self._clock = clock
        self._random = random
        self._one_at_a_time = threading.Lock()

    def renew(self, request: bytes) -> bytes:
        """DER of a certificate with enough life left, for a PKCS #10 request in DER.

        Idempotent: while the newest one has enough, it is the answer. Raises RenewalRefused,
        CertificateError and CaUnavailable.
        """
        self._check(request)
        with self._one_at_a_time:
            now = self._clock()
            self._revoke_unfinished(now)
            if (present := self._present(now)) is not None:
                return present
            return self._sign(now)

    def _check(self, request: bytes) -> None:
        try:
            parsed = x509.load_der_x509_csr(request)
            sound = parsed.is_signature_valid and parsed.public_key() == self._key
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise RenewalRefused(str(error)) from None
        if not sound:
            raise RenewalRefused("not signed by the OCSP signer's key")

    def _present(self, now: datetime) -> bytes | None:
        enough = now + min(timedelta(seconds=self._config.signer_renewal), self._profile.validity / 2)
        with self._database.read() as connection:
            for der in responders.valid(connection, self._authority.name, now):
                certificate = x509.load_der_x509_certificate(der)
                if certificate.public_key() == self._key and certificate.not_valid_after_utc > enough:
                    return der
        return None

    def _sign(self, now: datetime) -> bytes:
        template = self._profile.prepare(
            issuer=self._authority.issuer, key=self._key, now=now, random=self._random
        )
        with self._database.write() as connection:
            responders.prepare(
                connection,
                serial=template.serial_number,
                authority=self._authority.name,
                tbs=template.tbs,
                not_before=template.not_before,
                not_after=template.not_after,
                now=now,
            )
        try:
            der = self._authority.sign(template)
        except HsmError as error:
            raise CaUnavailable(str(error)) from error
        with self._database.write() as connection:
            responders.complete(connection, template.serial_number, der)
            record(
                connection,
                audit_events,
                at=self._clock(),
                actor="service",
                action="ocsp-signer-renewed",
                object_id=template.serial_number,
                details={"not_after": template.not_after.isoformat()},
            )
        log.info("ocsp-signer-renewed", serial=template.serial_number, not_after=template.not_after)
        return der

    def _revoke_unfinished(self, now: datetime) -> None:
        with self._database.read() as connection:
            serials = responders.unfinished(connection, self._authority.name, now - _GIVEN_UP)
        for serial in serials:
            with self._database.write() as connection:
                reason = X509Reason.CESSATION_OF_OPERATION
                status.revoke(
                    connection,
                    serial=serial,
                    authority=self._authority.name,
                    reason=reason,
                    entry=encode_entry(int(serial, 16), now, reason),
                    now=now,
                )
                record(
                    connection,
                    audit_events,
                    at=now,
                    actor="service",
                    action="ocsp-signer-given-up",
                    object_id=serial,
                )
