"""CRLs: entries encoded once, joined, signed, and read back before anybody sees them.

This lives beside the authority and not with the publisher because a revocation encodes its
entry here, and ceremonies sign the root's list; neither may import the publisher.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asn1crypto import core, crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509

from issuer.issuance.authority import Authority
from issuer.issuance.der import BIT_STRING, EXPLICIT, SEQUENCE, tlv
from issuer.issuance.errors import CrlRefused
from issuer.issuance.keys import signature_algorithm
from issuer.issuance.templates import Issuer
from policies.reasons import X509Reason

_ONLY_EXTENSIONS: Final = {x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid}
REASON_CODES: Final = {
    X509Reason.KEY_COMPROMISE: 1,
    X509Reason.AFFILIATION_CHANGED: 3,
    X509Reason.SUPERSEDED: 4,
    X509Reason.CESSATION_OF_OPERATION: 5,
    X509Reason.PRIVILEGE_WITHDRAWN: 9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlFacts:
    """What a CRL says that was read back and found sound."""

    number: int
    this_update: datetime
    next_update: datetime
    entries: int


def encode_entry(serial: int, revoked_at: datetime, reason: X509Reason) -> bytes:
    """DER of one entry of revokedCertificates (RFC 5280 5.1), made once, when the revocation commits.

    reasonCode is not critical, and absent for unspecified (5.3.1).
    """
    entry: dict[str, object] = {"user_certificate": serial, "revocation_date": _time(revoked_at)}
    if reason is not X509Reason.UNSPECIFIED:
        value = core.ParsableOctetString(crl.CRLReason(REASON_CODES[reason]).dump())
        entry["crl_entry_extensions"] = [{"extn_id": "crl_reason", "critical": False, "extn_value": value}]
    der: bytes = crl.RevokedCertificate(entry).dump()
    return der


def build_crl(
    authority: Authority,
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Iterable[bytes],
) -> bytes:
    """A full v2 CRL in DER: AKI, CRLNumber, no IDP (NSS refuses one on a full CRL).

    ``entries`` come from ``encode_entry`` and are joined as they are: 100 k take 0.05 s, where
    the libraries' own builders need from 0.7 to 76. Raises CrlRefused where what was built
    reads back as anything else, AuthorityRefused, and what the key raises.
    """
    listed = list(entries)
    issuer = authority.issuer
    algorithm = signature_algorithm(issuer.public_key)
    identifier = x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None)
    extensions = [_extension(identifier), _extension(x509.CRLNumber(number))]
    tbs = tlv(
        SEQUENCE,
        core.Integer(1).dump(),  # version 2
        algorithm,
        issuer.subject.public_bytes(),
        _time(this_update).dump(),
        _time(next_update).dump(),
        *([tlv(SEQUENCE, *listed)] if listed else []),  # absent, not empty (RFC 5280 5.1.2.6)
        tlv(EXPLICIT, tlv(SEQUENCE, *extensions)),
    )
    signature = tlv(BIT_STRING, b"\0", authority.sign_bytes(tbs))
    der = tlv(SEQUENCE, tbs, algorithm, signature)
    facts = verify_crl(der, issuer, previous_number=number - 1)
    meant = CrlFacts(
        number=number,
        this_update=this_update.replace(microsecond=0),
        next_update=next_update.replace(microsecond=0),
        entries=len(listed),
    )
    if facts != meant:
        raise CrlRefused(f"{issuer.name}: meant {meant}, reads {facts}")
    return der


def verify_crl(der: bytes, issuer: Issuer, *, previous_number: int | None) -> CrlFacts:
    """Read a CRL as a relying service would, before it is published; raises CrlRefused.

    ``previous_number`` is the last published one: numbers only rise (RFC 5280 5.2.3). How long
    it may live and which entries it must hold are for the caller to say.
    """
    try:
        parsed = x509.load_der_x509_crl(der)
        signed = parsed.is_signature_valid(issuer.public_key)
        extensions = parsed.extensions
        number = extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        identifier = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        this_update, next_update = parsed.last_update_utc, parsed.next_update_utc
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.InvalidVersion) as error:
        raise CrlRefused(f"{issuer.name}: {error}") from error
    if not signed or parsed.issuer != issuer.subject or identifier != issuer.key_identifier:
        raise CrlRefused(f"{issuer.name}: signed by another")
    if {extension.oid for extension in extensions} != _ONLY_EXTENSIONS:
        raise CrlRefused(f"{issuer.name}: a partition or a delta, where a full CRL is wanted")
    if previous_number is not None and number <= previous_number:
        raise CrlRefused(f"{issuer.name}: number {number} after {previous_number}")
    if next_update is None or next_update <= this_update:
        raise CrlRefused(f"{issuer.name}: nextUpdate {next_update} after thisUpdate {this_update}")
    return CrlFacts(number=number, this_update=this_update, next_update=next_update, entries=len(parsed))


def crl_entries(der: bytes) -> dict[int, bytes]:
    """The entries of a CRL of ours by serial, to be carried over; meant for the root's short list."""
    listed = crl.CertificateList.load(der, strict=True)["tbs_cert_list"]["revoked_certificates"]
    return {entry["user_certificate"].native: entry.dump() for entry in listed or ()}


def _extension(value: x509.ExtensionType) -> bytes:
    oid = core.ObjectIdentifier(value.oid.dotted_string).dump()
    return tlv(SEQUENCE, oid, core.OctetString(value.public_bytes()).dump())


def _time(moment: datetime) -> Any:
    """UTCTime until 2049, GeneralizedTime after (RFC 5280 5.1.2.4)."""
    moment = moment.replace(microsecond=0)
    if moment.year < 2050:
        return asn1_x509.Time("utc_time", core.UTCTime(moment))
    return asn1_x509.Time("general_time", core.GeneralizedTime(moment))
