"""A CA that can sign: certificate, chain and key, proven to belong together.

One library builds, the other looks again: the certificate is put together by asn1crypto from
the very bytes that were linted, and read back by ``cryptography`` before it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.issuance.errors import AuthorityRefused
from issuer.issuance.keys import PrivateKey, public_key, sign_verified
from issuer.issuance.keystore.keypairs import PublicKey
from issuer.issuance.templates import Issuer, Template


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Authority:
    """Only ``open`` makes one. Thread-safe where its key is."""

    certificate: x509.Certificate
    issuer: Issuer
    _key: PrivateKey

    @classmethod
    def open(
        cls,
        name: str,
        certificate: x509.Certificate,
        private_key: PrivateKey,
        chain: tuple[x509.Certificate, ...] = (),
        *,
        now: datetime,
    ) -> Self:
        """Raises AuthorityRefused unless key, certificate and chain fit and are valid now.

        ``chain``: the issuers' certificates, upwards, the root last; empty for the root itself.
        """
        try:
            issuer = Issuer.of(name, certificate)
            own_key = public_key(private_key.public_key())
        except (ValueError, x509.ExtensionNotFound) as error:
            raise AuthorityRefused(f"{name}: {error}") from error
        if own_key != issuer.public_key:
            raise AuthorityRefused(f"{name}: the key is not the certificate's")
        links = (certificate, *chain)
        for link, above in zip(links, (*chain, links[-1]), strict=True):
            _check_ca(name, link, now)
            try:
                link.verify_directly_issued_by(above)
            except Exception as error:
                raise AuthorityRefused(f"{name}: {link.subject.rfc4514_string()}: broken chain") from error
        return cls(certificate=certificate, issuer=issuer, _key=private_key)

    @property
    def name(self) -> str:
        return self.issuer.name

    @property
    def public_key(self) -> PublicKey:
        return self.issuer.public_key

    @property
    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def sign(self, template: Template) -> bytes:
        """Redeem the template: DER of the certificate over exactly its bytes.

        Raises TemplateRefused, AuthorityRefused, and whatever the key raises (HsmError).
        """
        return complete(template, self.issuer, self._key)

    def sign_bytes(self, data: bytes) -> bytes:
        """For CRLs and ceremony records. The signature is verified before it is returned."""
        # A token whose handles went stale signs with another key and says nothing (architecture.md).
        return sign_verified(self._key, data)

    def probe(self) -> None:
        """A real signature, over bytes that are no DER and so can never be a certificate or a CRL."""
        self.sign_bytes(b"myCert probe")


def complete(template: Template, issuer: Issuer, key: PrivateKey) -> bytes:
    """``Authority.sign`` without a certificate of one's own: how a root signs its first."""
    if key.public_key() != issuer.public_key:
        raise AuthorityRefused(f"{issuer.name}: the key is not the issuer's")
    tbs = template.redeem(issuer)
    signature = sign_verified(key, tbs)
    parsed = asn1_x509.TbsCertificate.load(tbs, strict=True)
    der: bytes = asn1_x509.Certificate(
        {
            "tbs_certificate": parsed,
            "signature_algorithm": parsed["signature"],
            "signature_value": signature,
        }
    ).dump()
    again = x509.load_der_x509_certificate(der)
    found = (again.tbs_certificate_bytes, again.signature, again.serial_number)
    if found != (tbs, signature, template.serial):
        raise AuthorityRefused(f"{issuer.name}: the certificate is not its template")
    return der


def _check_ca(name: str, certificate: x509.Certificate, now: datetime) -> None:
    subject = certificate.subject.rfc4514_string()
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise AuthorityRefused(f"{name}: {subject} is not valid now")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise AuthorityRefused(f"{name}: {subject}: {error}") from error
    if not (constraints.ca and usage.key_cert_sign and usage.crl_sign):
        raise AuthorityRefused(f"{name}: {subject} is no CA that signs certificates and CRLs")
