"""The OCSP signer's present certificate, and its renewal through the issuer long before its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.clock import Clock
from issuer.issuance.errors import AuthorityRefused
from issuer.issuance.keys import PrivateKey
from issuer.issuance.keystore.keypairs import signature_hash
from issuer.publisher.config import PublisherConfig
from issuer.publisher.metrics import SIGNER_NOT_AFTER
from issuer.publisher.ocsp import Responder
from issuer.registry import certificates
from issuer.registry.database import Database

log = structlog.get_logger(__name__)


class IssuerDoor(Protocol):
    """What the publisher may ask of the issuer; raises IssuerError."""

    def issue_crl(self, authority: str) -> int:
        """The number of a CRL that takes in every revocation committed before the call."""

    def renew_responder(self, request: bytes) -> bytes:
        """DER of the certificate for a PKCS #10 request in DER."""


@dataclass(kw_only=True, eq=False, repr=False)
class Signer:
    """Thread-safe. The key stays the ceremony's; certificates for it come from the registry."""

    key: PrivateKey
    certificate: x509.Certificate
    """The ceremony's."""
    issuer: x509.Certificate
    """The CA whose certificates are answered for."""
    authority: str
    database: Database
    config: PublisherConfig
    clock: Clock
    _present: Responder | None = field(default=None, init=False)

    def responder(self) -> Responder:
        """Valid now. Raises AuthorityRefused where there is none."""
        now = self.clock()
        present = self._present
        if present is None or not present.certificate.not_valid_before_utc <= now < present.not_after:
            self.refresh()
            present = self._present
        if present is None:
            raise AuthorityRefused("the OCSP signer has no certificate that is valid now")
        return present

    def refresh(self) -> None:
        """Take up what another publisher, or an earlier run, had renewed."""
        now = self.clock()
        with self.database.read() as connection:
            ders = certificates.valid_responders(connection, self.authority, now)
        candidates = [*(x509.load_der_x509_certificate(der) for der in ders), self.certificate]
        candidates.sort(key=lambda one: one.not_valid_after_utc, reverse=True)
        for candidate in candidates:
            try:
                self._present = Responder.open(candidate, self.key, self.issuer, now=now)
            except AuthorityRefused as error:
                log.debug("ocsp-signer-passed-over", cause=str(error))
                continue
            SIGNER_NOT_AFTER.set(self._present.not_after.timestamp())
            return
        self._present = None

    def renew_if_due(self, door: IssuerDoor) -> None:
        """Raises IssuerError, AuthorityRefused, and what the token raises."""
        self.refresh()
        now, present = self.clock(), self._present
        if present is not None:
            life = present.not_after - present.certificate.not_valid_before_utc
            margin = min(timedelta(seconds=self.config.signer_renewal), life / 2)
            if now < present.not_after - margin:
                return
        door.renew_responder(self._request())
        self.refresh()
        self.responder()

    def _request(self) -> bytes:
        """PKCS #10, whose signature proves that we have the key (RFC 2986)."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(self.certificate.subject)
        request = builder.sign(self.key, signature_hash(self.key.public_key()))
        return request.public_bytes(Encoding.DER)
