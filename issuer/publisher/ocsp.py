"""OCSP answers by RFC 6960 4.2: put together here, signed, then read back by ``cryptography`` and verified.

An answer is a dozen small values, so joining them costs microseconds. The libraries' builders cost as
much as the signature, make no answer for several certificates, or read the system's clock themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from issuer.issuance.crl import REASON_CODES
from issuer.issuance.der import (
    BIT_STRING,
    ENUMERATED,
    EXPLICIT,
    GENERALIZED_TIME,
    IMPLICIT,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    tlv,
)
from issuer.issuance.errors import AuthorityRefused, OcspRefused
from issuer.issuance.keys import PrivateKey, public_key, sign_verified, signature_algorithm
from issuer.publisher.ocsp_request import CertId, HashName
from issuer.registry.status import Revocation

# AlgorithmIdentifiers with NULL parameters, as askers encode them.
_HASHES: Final[dict[HashName, bytes]] = {
    "sha1": bytes.fromhex("300906052b0e03021a0500"),
    "sha256": bytes.fromhex("300d06096086480165030402010500"),
}
_NONCE: Final = bytes.fromhex("06092b0601050507300102")
_BASIC: Final = bytes.fromhex("06092b0601050507300101")
_SUCCESSFUL: Final = tlv(ENUMERATED, b"\0")


Status = Literal["good", "unknown"] | Revocation


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleAnswer:
    cert_id: CertId
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Responder:
    """A delegated signer (RFC 6960 4.2.2.2). Only ``open`` makes one."""

    certificate: x509.Certificate
    key_hash: bytes
    not_after: datetime
    """No answer may promise more: whoever checks it later would find its signer expired."""
    _key: PrivateKey
    # As they stand in an answer.
    _id: bytes
    _algorithm: bytes
    _certificates: bytes

    @classmethod
    def open(
        cls,
        certificate: x509.Certificate,
        private_key: PrivateKey,
        issuer: x509.Certificate,
        *,
        now: datetime,
    ) -> Self:
        """Raises AuthorityRefused unless it is valid now, the issuer's, and made for OCSP alone."""
        subject = certificate.subject.rfc4514_string()
        try:
            certificate.verify_directly_issued_by(issuer)
            key = public_key(certificate.public_key())
            usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
            raise AuthorityRefused(f"{subject}: {str(error) or 'not signed by its issuer'}") from error
        if list(usages) != [ExtendedKeyUsageOID.OCSP_SIGNING]:
            raise AuthorityRefused(f"{subject}: made for more than OCSP")
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise AuthorityRefused(f"{subject}: not valid now")
        if private_key.public_key() != key:
            raise AuthorityRefused(f"{subject}: the key is not the certificate's")
        key_hash = x509.SubjectKeyIdentifier.from_public_key(key).digest
        return cls(
            certificate=certificate,
            key_hash=key_hash,
            not_after=certificate.not_valid_after_utc,
            _key=private_key,
            _id=tlv(EXPLICIT + 2, tlv(OCTET_STRING, key_hash)),
            _algorithm=signature_algorithm(key),
            _certificates=tlv(EXPLICIT, tlv(SEQUENCE, certificate.public_bytes(Encoding.DER))),
        )


def build_answer(
    responder: Responder,
    answers: Sequence[SingleAnswer],
    *,
    this_update: datetime,
    next_update: datetime,
    nonce: bytes | None = None,
) -> bytes:
    """A signed answer in DER: byKey, signer's certificate within, CertIDs as they were asked.

    Answers made ahead hold one certificate (RFC 5019 2.2.1); only a live one may hold several.
    Raises OcspRefused for times that cannot be promised and for an answer that reads back as
    something else, and what the key raises.
    """
    this_update, next_update = this_update.replace(microsecond=0), next_update.replace(microsecond=0)
    if not answers or not this_update < next_update <= responder.not_after:
        raise OcspRefused(f"{len(answers)} answers from {this_update} to {next_update}")
    times = _time(this_update) + tlv(EXPLICIT, _time(next_update))
    # RFC 6960 4.2.1; producedAt is thisUpdate.
    tbs = tlv(
        SEQUENCE,
        responder._id,
        _time(this_update),
        tlv(SEQUENCE, *(_single(one, times) for one in answers)),
        b"" if nonce is None else tlv(EXPLICIT + 1, tlv(SEQUENCE, _nonce(nonce))),
    )
    try:
        signature = sign_verified(responder._key, tbs)
    except AuthorityRefused as refusal:
        raise OcspRefused(str(refusal)) from refusal
    signed = tlv(BIT_STRING, b"\0", signature)
    basic = tlv(SEQUENCE, tbs, responder._algorithm, signed, responder._certificates)
    der = tlv(SEQUENCE, _SUCCESSFUL, tlv(EXPLICIT, tlv(SEQUENCE, _BASIC, tlv(OCTET_STRING, basic))))
    try:
        parsed = ocsp.load_der_ocsp_response(der)
        singles = list(parsed.responses)
        sound = (
            (parsed.tbs_response_bytes, parsed.signature) == (tbs, signature)
            and parsed.certificates == [responder.certificate]
            and parsed.responder_key_hash == responder.key_hash
            and [one.value for one in parsed.extensions] == ([] if nonce is None else [x509.OCSPNonce(nonce)])
            and [(one.this_update_utc, one.next_update_utc) for one in singles]
            == [(this_update, next_update)] * len(answers)
            and all(_says(single, one) for single, one in zip(singles, answers, strict=True))
        )
    except (ValueError, TypeError) as error:
        raise OcspRefused(str(error)) from error
    if not sound:
        raise OcspRefused(f"it does not read as {answers}")
    return der


def _single(answer: SingleAnswer, times: bytes) -> bytes:
    cert_id, status = answer.cert_id, answer.status
    if isinstance(status, Revocation):
        code = REASON_CODES.get(status.reason)
        reason = b"" if code is None else tlv(EXPLICIT, tlv(ENUMERATED, bytes([code])))
        said = tlv(EXPLICIT + 1, _time(status.revoked_at.replace(microsecond=0)), reason)
    else:
        said = tlv(IMPLICIT if status == "good" else IMPLICIT + 2)
    serial = cert_id.serial
    asked = tlv(
        SEQUENCE,
        _HASHES[cert_id.hash_name],
        tlv(OCTET_STRING, cert_id.issuer_name_hash),
        tlv(OCTET_STRING, cert_id.issuer_key_hash),
        tlv(INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1)),
    )
    return tlv(SEQUENCE, asked, said, times)


def _nonce(nonce: bytes) -> bytes:
    return tlv(SEQUENCE, _NONCE, tlv(OCTET_STRING, tlv(OCTET_STRING, nonce)))


@lru_cache(64)
def _time(moment: datetime) -> bytes:
    return tlv(GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())


def _says(single: ocsp.OCSPSingleResponse, meant: SingleAnswer) -> bool:
    """Whether a relying service finds in it what was meant."""
    status, cert_id = meant.status, meant.cert_id
    at = reason = None
    if isinstance(status, Revocation):
        at = status.revoked_at.replace(microsecond=0)
        reason = x509.ReasonFlags(status.reason) if status.reason in REASON_CODES else None
    return (
        single.certificate_status.name == ("REVOKED" if isinstance(status, Revocation) else status.upper())
        and (single.revocation_time_utc, single.revocation_reason) == (at, reason)
        and (single.issuer_name_hash, single.issuer_key_hash, single.serial_number)
        == (cert_id.issuer_name_hash, cert_id.issuer_key_hash, cert_id.serial)
        and single.hash_algorithm.name == cert_id.hash_name
    )
