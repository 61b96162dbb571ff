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
from cryptography.hazmat.primitives import hashes
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
from issuer.issuance.keystore.keypairs import PublicKey
from issuer.publisher.ocsp_request import CertId, HashName
from policies.reasons import X509Reason

# AlgorithmIdentifiers with NULL parameters, as askers encode them.
_HASHES: Final[dict[HashName, bytes]] = {
    "sha1": bytes.fromhex("300906052b0e03021a0500"),
    "sha256": bytes.fromhex("300d06096086480165030402010500"),
}
_NONCE: Final = bytes.fromhex("06092b0601050507300102")
_BASIC: Final = bytes.fromhex("06092b0601050507300101")
_SUCCESSFUL: Final = tlv(ENUMERATED, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    at: datetime
    reason: X509Reason


Status = Literal["good", "unknown"] | Revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleAnswer:
    cert_id: CertId
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Responder:
    """A delegated signer (RFC 6960 4.2.2.2). Only ``open`` makes one."""

    certificate: x509.Certificate
    public_key: PublicKey
    key_hash: bytes
    not_after: datetime
    """No answer may promise more: whoever checks it later would find its signer expired."""
    _key: PrivateKey
    _certificates: bytes
    """As they stand in an answer."""

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
        return cls(
            certificate=certificate,
            public_key=key,
            key_hash=x509.SubjectKeyIdentifier.from_public_key(key).digest,
            not_after=certificate.not_valid_after_utc,
            _key=private_key,
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
    meant = _Facts(
        answers=tuple(_seen(one) for one in answers),
        this_update=this_update,
        next_update=next_update,
        nonce=nonce,
        key_hash=responder.key_hash,
        certificate=responder.certificate,
    )
    tbs = _response_data(meant)
    signature = sign_verified(responder._key, tbs)
    if signature is None:
        raise OcspRefused("the signature does not verify")
    der = _response(responder, tbs, signature)
    try:
        facts = _read(der, tbs, signature)
    except (ValueError, TypeError) as error:
        raise OcspRefused(str(error)) from error
    if facts != meant:
        raise OcspRefused(f"meant {meant.answers}, reads {facts.answers}")
    return der


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What an answer says, whoever reads it; all that is compared before it leaves."""

    answers: tuple[SingleAnswer, ...]
    this_update: datetime
    next_update: datetime
    nonce: bytes | None
    key_hash: bytes
    certificate: x509.Certificate


def _seen(answer: SingleAnswer) -> SingleAnswer:
    """As it can be read back: whole seconds."""
    if not isinstance(answer.status, Revoked):
        return answer
    at = answer.status.at.replace(microsecond=0)
    return SingleAnswer(cert_id=answer.cert_id, status=Revoked(at=at, reason=answer.status.reason))


def _response_data(meant: _Facts) -> bytes:
    """What is signed (RFC 6960 4.2.1). producedAt is thisUpdate."""
    return tlv(
        SEQUENCE,
        tlv(EXPLICIT + 2, tlv(OCTET_STRING, meant.key_hash)),
        _time(meant.this_update),
        tlv(SEQUENCE, *(_single(one, meant) for one in meant.answers)),
        b"" if meant.nonce is None else tlv(EXPLICIT + 1, tlv(SEQUENCE, _nonce(meant.nonce))),
    )


def _response(responder: Responder, tbs: bytes, signature: bytes) -> bytes:
    basic = tlv(
        SEQUENCE,
        tbs,
        signature_algorithm(responder.public_key),
        tlv(BIT_STRING, b"\0", signature),
        responder._certificates,
    )
    return tlv(SEQUENCE, _SUCCESSFUL, tlv(EXPLICIT, tlv(SEQUENCE, _BASIC, tlv(OCTET_STRING, basic))))


def _single(answer: SingleAnswer, meant: _Facts) -> bytes:
    cert_id, status = answer.cert_id, answer.status
    if isinstance(status, Revoked):
        code = REASON_CODES.get(status.reason)
        reason = b"" if code is None else tlv(EXPLICIT, tlv(ENUMERATED, bytes([code])))
        said = tlv(EXPLICIT + 1, _time(status.at), reason)
    else:
        said = tlv(IMPLICIT if status == "good" else IMPLICIT + 2)
    serial = cert_id.serial
    return tlv(
        SEQUENCE,
        tlv(
            SEQUENCE,
            _HASHES[cert_id.hash_name],
            tlv(OCTET_STRING, cert_id.issuer_name_hash),
            tlv(OCTET_STRING, cert_id.issuer_key_hash),
            tlv(INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1)),
        ),
        said,
        _time(meant.this_update),
        tlv(EXPLICIT, _time(meant.next_update)),
    )


def _nonce(nonce: bytes) -> bytes:
    return tlv(SEQUENCE, _NONCE, tlv(OCTET_STRING, tlv(OCTET_STRING, nonce)))


@lru_cache(64)
def _time(moment: datetime) -> bytes:
    return tlv(GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())


def _read(der: bytes, tbs: bytes, signature: bytes) -> _Facts:
    """What a relying service finds in it. Raises ValueError unless what was signed stands in it."""
    parsed = ocsp.load_der_ocsp_response(der)
    if parsed.tbs_response_bytes != tbs or parsed.signature != signature:
        raise ValueError("not what was signed")
    (certificate,) = parsed.certificates
    nonces = [one.value.nonce for one in parsed.extensions if isinstance(one.value, x509.OCSPNonce)]
    singles = list(parsed.responses)
    ((this_update, next_update),) = {(one.this_update_utc, one.next_update_utc) for one in singles}
    if next_update is None or len(nonces) != len(parsed.extensions):
        raise ValueError("without nextUpdate, or with an extension too many")
    return _Facts(
        answers=tuple(_single_seen(one) for one in singles),
        this_update=this_update,
        next_update=next_update,
        nonce=nonces[0] if nonces else None,
        key_hash=parsed.responder_key_hash or b"",
        certificate=certificate,
    )


def _single_seen(single: ocsp.OCSPSingleResponse) -> SingleAnswer:
    status: Status = "good" if single.certificate_status is ocsp.OCSPCertStatus.GOOD else "unknown"
    if single.revocation_time_utc is not None:
        reason = X509Reason.UNSPECIFIED
        if single.revocation_reason is not None:
            reason = X509Reason(single.revocation_reason.value)
        status = Revoked(at=single.revocation_time_utc, reason=reason)
    cert_id = CertId(
        hash_name="sha1" if isinstance(single.hash_algorithm, hashes.SHA1) else "sha256",
        issuer_name_hash=single.issuer_name_hash,
        issuer_key_hash=single.issuer_key_hash,
        serial=single.serial_number,
    )
    return SingleAnswer(cert_id=cert_id, status=status)
