"""OCSP answers by RFC 6960 4.2: built and signed by one library, then read and verified by the other.

An answer for one certificate is built by ``cryptography`` and read by asn1crypto; one for
several, which ``cryptography`` cannot build, the other way round. producedAt of the former is
that library's own reading of the system clock; thisUpdate and nextUpdate are the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Self

from asn1crypto import core
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from issuer.issuance.errors import AuthorityRefused, OcspRefused
from issuer.issuance.keys import (
    PrivateKey,
    PublicKey,
    public_key,
    sign,
    signature_hash,
    signature_name,
    verifies,
)
from issuer.publisher.ocsp_request import (
    ERROR_ANSWERS,
    CertId,
    ErrorStatus,
    HashName,
    OcspError,
    OcspRequest,
    parse_request,
)
from policies.reasons import X509Reason

__all__ = [
    "ERROR_ANSWERS",
    "CertId",
    "ErrorStatus",
    "HashName",
    "OcspError",
    "OcspRequest",
    "Responder",
    "Revoked",
    "SingleAnswer",
    "Status",
    "build_answer",
    "parse_request",
]

_HASHES: Final[dict[HashName, type[hashes.SHA1] | type[hashes.SHA256]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
}
_ASN1_REASONS: Final = {
    X509Reason.KEY_COMPROMISE: "key_compromise",
    X509Reason.AFFILIATION_CHANGED: "affiliation_changed",
    X509Reason.SUPERSEDED: "superseded",
    X509Reason.CESSATION_OF_OPERATION: "cessation_of_operation",
    X509Reason.PRIVILEGE_WITHDRAWN: "privilege_withdrawn",
}


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
    _key: PrivateKey

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
        return cls(certificate=certificate, public_key=key, _key=private_key)

    @property
    def not_after(self) -> datetime:
        """No answer may promise more: whoever checks it later would find its signer expired."""
        return self.certificate.not_valid_after_utc

    @property
    def key_hash(self) -> bytes:
        return x509.SubjectKeyIdentifier.from_public_key(self.public_key).digest


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
        certificate=responder.certificate.public_bytes(Encoding.DER),
    )
    try:
        if len(answers) == 1:
            der = _build_one(responder, answers[0], meant)
            facts, signature, tbs = _read_by_asn1crypto(der)
        else:
            der = _build_several(responder, answers, meant)
            facts, signature, tbs = _read_by_cryptography(der)
    except (ValueError, TypeError, KeyError) as error:
        raise OcspRefused(str(error)) from error
    if facts != meant:
        raise OcspRefused(f"meant {meant.answers}, reads {facts.answers}")
    if not verifies(responder.public_key, signature, tbs):
        raise OcspRefused("the signature does not verify")
    return der


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What an answer says, whoever reads it; all that is compared before it leaves."""

    answers: tuple[SingleAnswer, ...]
    this_update: datetime
    next_update: datetime
    nonce: bytes | None
    key_hash: bytes
    certificate: bytes


def _seen(answer: SingleAnswer) -> SingleAnswer:
    """As it can be read back: whole seconds."""
    if not isinstance(answer.status, Revoked):
        return answer
    at = answer.status.at.replace(microsecond=0)
    return SingleAnswer(cert_id=answer.cert_id, status=Revoked(at=at, reason=answer.status.reason))


def _build_one(responder: Responder, answer: SingleAnswer, meant: _Facts) -> bytes:
    status, cert_id = answer.status, answer.cert_id
    at: datetime | None = None
    reason: x509.ReasonFlags | None = None
    if isinstance(status, Revoked):
        kind, at = ocsp.OCSPCertStatus.REVOKED, status.at.replace(microsecond=0)
        if status.reason is not X509Reason.UNSPECIFIED:
            reason = x509.ReasonFlags(status.reason.value)
    else:
        kind = ocsp.OCSPCertStatus.GOOD if status == "good" else ocsp.OCSPCertStatus.UNKNOWN
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            issuer_name_hash=cert_id.issuer_name_hash,
            issuer_key_hash=cert_id.issuer_key_hash,
            serial_number=cert_id.serial,
            algorithm=_HASHES[cert_id.hash_name](),
            cert_status=kind,
            this_update=meant.this_update,
            next_update=meant.next_update,
            revocation_time=at,
            revocation_reason=reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
        .certificates([responder.certificate])
    )
    if meant.nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(meant.nonce), critical=False)
    signed = builder.sign(responder._key, signature_hash(responder.public_key))
    return signed.public_bytes(Encoding.DER)


def _build_several(responder: Responder, answers: Sequence[SingleAnswer], meant: _Facts) -> bytes:
    data: dict[str, object] = {
        "responder_id": asn1_ocsp.ResponderId("by_key", meant.key_hash),
        "produced_at": meant.this_update,
        "responses": [_asn1_single(one, meant) for one in answers],
    }
    if meant.nonce is not None:
        value = core.ParsableOctetString(core.OctetString(meant.nonce).dump())
        data["response_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": value}]
    tbs = asn1_ocsp.ResponseData(data)
    basic = asn1_ocsp.BasicOCSPResponse(
        {
            "tbs_response_data": tbs,
            "signature_algorithm": {"algorithm": signature_name(responder.public_key)},
            "signature": sign(responder._key, tbs.dump()),
            "certs": [asn1_x509.Certificate.load(meant.certificate)],
        }
    )
    body = {"response_type": "basic_ocsp_response", "response": basic}
    der: bytes = asn1_ocsp.OCSPResponse({"response_status": "successful", "response_bytes": body}).dump()
    return der


def _asn1_single(answer: SingleAnswer, meant: _Facts) -> dict[str, object]:
    status, cert_id = answer.status, answer.cert_id
    if isinstance(status, Revoked):
        info: dict[str, object] = {"revocation_time": status.at.replace(microsecond=0)}
        if status.reason is not X509Reason.UNSPECIFIED:
            info["revocation_reason"] = _ASN1_REASONS[status.reason]
        choice = asn1_ocsp.CertStatus("revoked", asn1_ocsp.RevokedInfo(info))
    else:
        choice = asn1_ocsp.CertStatus(status, core.Null())
    return {
        "cert_id": {
            "hash_algorithm": {"algorithm": cert_id.hash_name},
            "issuer_name_hash": cert_id.issuer_name_hash,
            "issuer_key_hash": cert_id.issuer_key_hash,
            "serial_number": cert_id.serial,
        },
        "cert_status": choice,
        "this_update": meant.this_update,
        "next_update": meant.next_update,
    }


def _read_by_asn1crypto(der: bytes) -> tuple[_Facts, bytes, bytes]:
    basic = asn1_ocsp.OCSPResponse.load(der, strict=True)["response_bytes"]["response"].parsed
    tbs = basic["tbs_response_data"]
    (certificate,) = basic["certs"]
    nonces = [one["extn_value"].parsed.native for one in tbs["response_extensions"] or ()]
    times = {(one["this_update"].native, one["next_update"].native) for one in tbs["responses"]}
    ((this_update, next_update),) = times
    facts = _Facts(
        answers=tuple(_asn1_seen(one) for one in tbs["responses"]),
        this_update=this_update,
        next_update=next_update,
        nonce=nonces[0] if nonces else None,
        key_hash=tbs["responder_id"].native,
        certificate=certificate.dump(),
    )
    return facts, basic["signature"].native, tbs.dump()


def _asn1_seen(single: Any) -> SingleAnswer:
    read, status = single["cert_id"], single["cert_status"].native
    if not isinstance(status, str):
        reasons = {name: reason for reason, name in _ASN1_REASONS.items()}
        reason = reasons.get(status["revocation_reason"], X509Reason.UNSPECIFIED)
        status = Revoked(at=status["revocation_time"], reason=reason)
    return SingleAnswer(
        cert_id=CertId(
            hash_name=read["hash_algorithm"]["algorithm"].native,
            issuer_name_hash=read["issuer_name_hash"].native,
            issuer_key_hash=read["issuer_key_hash"].native,
            serial=read["serial_number"].native,
        ),
        status=status,
    )


def _read_by_cryptography(der: bytes) -> tuple[_Facts, bytes, bytes]:
    parsed = ocsp.load_der_ocsp_response(der)
    (certificate,) = parsed.certificates
    nonces = [one.value.nonce for one in parsed.extensions if isinstance(one.value, x509.OCSPNonce)]
    singles = list(parsed.responses)
    ((this_update, next_update),) = {(one.this_update_utc, one.next_update_utc) for one in singles}
    if next_update is None:
        raise OcspRefused("an answer without nextUpdate")
    facts = _Facts(
        answers=tuple(_cryptography_seen(one) for one in singles),
        this_update=this_update,
        next_update=next_update,
        nonce=nonces[0] if nonces else None,
        key_hash=parsed.responder_key_hash or b"",
        certificate=certificate.public_bytes(Encoding.DER),
    )
    return facts, parsed.signature, parsed.tbs_response_bytes


def _cryptography_seen(single: ocsp.OCSPSingleResponse) -> SingleAnswer:
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
