"""The issuer's part in renewing the OCSP signer: a certificate for the key of the ceremony, no other.

The publisher proves that it has the key; a new key is a matter for a ceremony. A crash leaves
a serial written down without a signature: the reaper revokes it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from hsm.errors import HsmError
from issuer.audit.events import record
from issuer.clock import Clock, RandomBytes
from issuer.errors import CaUnavailable, IssuerError
from issuer.issuance.authority import Authority
from issuer.issuance.keystore.keypairs import PublicKey
from issuer.issuance.profiles import Profile
from issuer.publisher.config import PublisherConfig
from issuer.registry import certificates
from issuer.registry.database import Database
from issuer.registry.tables import audit_events

log = structlog.get_logger(__name__)


class RenewalRefused(IssuerError):
    """Not a sound request, or not for the OCSP signer's key."""

    code = "invalid-request"


@dataclass(kw_only=True, eq=False, repr=False)
class ResponderIssuer:
    """Thread-safe; lives in the issuer's process."""

    database: Database
    authority: Authority
    profile: Profile
    key: PublicKey
    """The one in the ceremony's ``ocsp.cer``."""
    config: PublisherConfig
    clock: Clock
    random: RandomBytes
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, init=False)

    def renew(self, request: bytes) -> bytes:
        """DER of a certificate with enough life left, for a PKCS #10 request in DER.

        Idempotent: while the newest one has enough, it is the answer. Raises RenewalRefused,
        CertificateError and CaUnavailable.
        """
        self._check(request)
        with self._one_at_a_time:
            now = self.clock()
            if (present := self._present(now)) is not None:
                return present
            return self._sign(now)

    def _check(self, request: bytes) -> None:
        try:
            parsed = x509.load_der_x509_csr(request)
            sound = parsed.is_signature_valid and parsed.public_key() == self.key
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise RenewalRefused(str(error)) from None
        if not sound:
            raise RenewalRefused("not signed by the OCSP signer's key")

    def _present(self, now: datetime) -> bytes | None:
        enough = now + min(timedelta(seconds=self.config.signer_renewal), self.profile.validity / 2)
        with self.database.read() as connection:
            for der in certificates.valid_responders(connection, self.authority.name, now):
                certificate = x509.load_der_x509_certificate(der)
                if certificate.public_key() == self.key and certificate.not_valid_after_utc > enough:
                    return der
        return None

    def _sign(self, now: datetime) -> bytes:
        template = self.profile.prepare(
            issuer=self.authority.issuer, key=self.key, now=now, random=self.random
        )
        with self.database.write() as connection:
            certificates.prepare(connection, template.intent, now)
        try:
            der = self.authority.sign(template)
        except HsmError as error:
            raise CaUnavailable(str(error)) from error
        with self.database.write() as connection:
            certificates.complete(connection, template.serial_number, der)
            record(
                connection,
                audit_events,
                at=self.clock(),
                actor="service",
                action="ocsp-signer-renewed",
                object_id=template.serial_number,
                details={"not_after": template.not_after.isoformat()},
            )
        log.info("ocsp-signer-renewed", serial=template.serial_number, not_after=template.not_after)
        return der
