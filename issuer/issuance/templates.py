"""A certificate before it is signed: built, linted as a whole, then redeemable once (invariant 6).

The template is the finished certificate but for its signature, which a throw-away key of the
authority's type made. What pkilint read is therefore byte for byte what the authority will
sign: ``tbs``. It can be written down before that (invariant 2).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from issuer.clock import RandomBytes
from issuer.issuance.config import ExtendedKeyUsage, KeyUsage, PkiConfig, ProfileConfig
from issuer.issuance.errors import TemplateRefused
from issuer.issuance.keys import public_key, throw_away_key
from issuer.issuance.keystore.keypairs import PublicKey, key_type_of, signature_hash
from issuer.issuance.lint import lint_certificate

BACKDATE: Final = timedelta(minutes=5)
"""A certificate is used within seconds of its making, by services whose clocks may be behind ours."""

_ANY_POLICY = "2.5.29.32.0"
_NCP_POLICY = "0.4.0.2042.1.1"
_EXTENDED: Final[dict[ExtendedKeyUsage, ObjectIdentifier]] = {
    "client-auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "email-protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ocsp-signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """What of an authority stands in the certificates below it."""

    name: str
    subject: x509.Name
    public_key: PublicKey
    key_identifier: bytes
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of(cls, name: str, certificate: x509.Certificate) -> Self:
        """Raises ValueError or ExtensionNotFound for a certificate that no authority of ours can have."""
        key_identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return cls(
            name=name,
            subject=certificate.subject,
            public_key=public_key(certificate.public_key()),
            key_identifier=key_identifier.value.digest,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )

    @classmethod
    def itself(cls, name: str, subject: x509.Name, key: PublicKey) -> Self:
        """The issuer of a root: the root."""
        identifier = x509.SubjectKeyIdentifier.from_public_key(key)
        return cls(name=name, subject=subject, public_key=key, key_identifier=identifier.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    profile: str
    issuer: Issuer
    serial: int
    not_before: datetime
    not_after: datetime
    tbs: bytes
    _once: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def serial_number(self) -> str:
        """As the registry writes it: lower-case hexadecimal, whole octets, no leading zero octet."""
        return serial_text(self.serial)

    @property
    def intent(self) -> dict[str, object]:
        """What is written down before it is signed (invariant 2), by the columns of ``certificates``."""
        return {
            "serial": self.serial_number,
            "authority": self.issuer.name,
            "profile": self.profile,
            "tbs": self.tbs,
            "not_before": self.not_before,
            "not_after": self.not_after,
        }

    def redeem(self, issuer: Issuer) -> bytes:
        """Give the bytes to sign, once, to the issuer they were made for; raises TemplateRefused."""
        if (issuer.subject, issuer.public_key) != (self.issuer.subject, self.issuer.public_key):
            raise TemplateRefused(f"template {self.serial_number} was made for another authority")
        if not self._once.acquire(blocking=False):
            raise TemplateRefused(f"template {self.serial_number} was redeemed before")
        return self.tbs


def serial_text(serial: int) -> str:
    return serial.to_bytes((serial.bit_length() + 7) // 8).hex()


def random_serial(random: RandomBytes) -> int:
    """158 random bits in 20 octets, always positive and of one length (RFC 5280 4.1.2.2: at most 20)."""
    first, *rest = random(20)
    return int.from_bytes([first & 0x3F | 0x40, *rest])


def build_template(
    config: ProfileConfig,
    pki: PkiConfig,
    *,
    profile: str,
    issuer: Issuer,
    subject: x509.Name,
    key: PublicKey,
    validity: timedelta,
    now: datetime,
    random: RandomBytes,
    more: Sequence[x509.ExtensionType] = (),
) -> Template:
    """Build and lint; raises LintRefused, TemplateRefused where the issuer has no time left.

    The certificate's life lies within its issuer's, for a chain ends with its first link.
    notAfter is the last second that counts (RFC 5280 4.1.2.5).
    """
    begin = (now - BACKDATE).replace(microsecond=0)
    end = begin + validity - timedelta(seconds=1)
    begin, end = max(begin, issuer.not_before or begin), min(end, issuer.not_after or end)
    if begin >= end:
        raise TemplateRefused(f"{issuer.name} has expired, or not begun")
    serial = random_serial(random)
    builder = (
        x509.CertificateBuilder()
        .serial_number(serial)
        .issuer_name(issuer.subject)
        .subject_name(subject)
        .not_valid_before(begin)
        .not_valid_after(end)
        .public_key(key)
    )
    for extension, critical in _extensions(config, pki, issuer, key):
        builder = builder.add_extension(extension, critical)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    throw_away = throw_away_key(key_type_of(issuer.public_key))
    certificate = builder.sign(throw_away, signature_hash(issuer.public_key))
    lint_certificate(certificate.public_bytes(Encoding.DER), config.lint, on_loopback=pki.on_loopback)
    return Template(
        profile=profile,
        issuer=issuer,
        serial=serial,
        not_before=begin,
        not_after=end,
        tbs=certificate.tbs_certificate_bytes,
    )


def _extensions(
    config: ProfileConfig, pki: PkiConfig, issuer: Issuer, key: PublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (_key_usage(config.key_usage), True),
    ]
    if config.is_ca:
        found.append((x509.BasicConstraints(ca=True, path_length=config.path_length), True))
    if config.extended_key_usage:
        usages = [_EXTENDED[usage] for usage in config.extended_key_usage]
        found.append((x509.ExtendedKeyUsage(usages), False))
    if config.ocsp_no_check:
        found.append((x509.OCSPNoCheck(), False))
    if config.policy != "none":
        found.append((_policies(config, pki), False))
    if config.crl:
        point = x509.DistributionPoint([_uri(pki.crl_url(issuer.name))], None, None, None)
        found.append((x509.CRLDistributionPoints([point]), False))
    access = []
    if config.ocsp:
        access.append(x509.AccessDescription(Access.OCSP, _uri(pki.ocsp_url)))
    if config.ca_issuers:
        access.append(x509.AccessDescription(Access.CA_ISSUERS, _uri(pki.certificate_url(issuer.name))))
    if access:
        found.append((x509.AuthorityInformationAccess(access), False))
    return found


def _key_usage(usages: Sequence[KeyUsage]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital-signature" in usages,
        content_commitment="content-commitment" in usages,
        key_encipherment="key-encipherment" in usages,
        data_encipherment=False,
        key_agreement="key-agreement" in usages,
        key_cert_sign="key-cert-sign" in usages,
        crl_sign="crl-sign" in usages,
        encipher_only=False,
        decipher_only=False,
    )


def _policies(config: ProfileConfig, pki: PkiConfig) -> x509.CertificatePolicies:
    if config.policy == "any":
        return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(_ANY_POLICY), None)])
    stated = [x509.PolicyInformation(ObjectIdentifier(pki.policy_oid), [pki.cps_url])]
    if pki.ncp_audited:
        stated.append(x509.PolicyInformation(ObjectIdentifier(_NCP_POLICY), None))
    return x509.CertificatePolicies(stated)


def _uri(address: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(address)
