"""OCSP requests by RFC 6960 4.1, and the unsigned answers to those that cannot be served."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from asn1crypto import keys as asn1_keys
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

HashName = Literal["sha1", "sha256"]
HASH_NAMES: Final[tuple[HashName, ...]] = ("sha1", "sha256")
ErrorStatus = Literal["malformedRequest", "tryLater", "unauthorized"]

MAX_REQUESTS: Final = 32
MAX_NONCE: Final = 128
"""RFC 9654 2.1: 1 to 128 octets; anything else is a malformed request."""

_HASHES: Final[dict[HashName, hashes.SHA1 | hashes.SHA256]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - CertIDs are not signatures
    "sha256": hashes.SHA256(),
}
_HASH_NAMES: Final[dict[str, HashName]] = {"sha1": "sha1", "sha256": "sha256"}

_STATUSES: Final[dict[ErrorStatus, ocsp.OCSPResponseStatus]] = {
    "malformedRequest": ocsp.OCSPResponseStatus.MALFORMED_REQUEST,
    "tryLater": ocsp.OCSPResponseStatus.TRY_LATER,
    "unauthorized": ocsp.OCSPResponseStatus.UNAUTHORIZED,
}
ERROR_ANSWERS: Final[dict[ErrorStatus, bytes]] = {
    name: ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    for name, status in _STATUSES.items()
}
"""RFC 6960 2.3: whole and unsigned, they never change."""


class OcspError(Exception):
    """A request that gets one of ``ERROR_ANSWERS``."""

    def __init__(self, status: ErrorStatus, cause: str) -> None:
        super().__init__(f"{status}: {cause}")
        self.status: ErrorStatus = status

    @property
    def answer(self) -> bytes:
        return ERROR_ANSWERS[self.status]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertId:
    """RFC 6960 4.1.1: whose certificate, in the hash that the asker chose."""

    hash_name: HashName
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int

    @classmethod
    def of(cls, issuer: x509.Certificate, serial: int, hash_name: HashName) -> Self:
        spki = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        bits = bytes(asn1_keys.PublicKeyInfo.load(spki)["public_key"])
        return cls(
            hash_name=hash_name,
            issuer_name_hash=hashlib.new(hash_name, issuer.subject.public_bytes()).digest(),
            issuer_key_hash=hashlib.new(hash_name, bits).digest(),
            serial=serial,
        )

    @classmethod
    def both(cls, issuer: x509.Certificate) -> list[Self]:
        """Of no certificate of this issuer yet: give it a serial by ``replace``."""
        return [cls.of(issuer, 0, name) for name in HASH_NAMES]

    @property
    def issuer(self) -> tuple[HashName, bytes, bytes]:
        """The same for all certificates of one authority: compare it with that of ``CertId.of``."""
        return self.hash_name, self.issuer_name_hash, self.issuer_key_hash

    @property
    def request(self) -> bytes:
        """DER of the plainest request that asks for it: no extension, as RFC 9919 3.1 wants."""
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            self.issuer_name_hash, self.issuer_key_hash, self.serial, _HASHES[self.hash_name]
        )
        return builder.build().public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True, kw_only=True)
class OcspRequest:
    cert_ids: tuple[CertId, ...]
    nonce: bytes | None


def parse_request(der: bytes) -> OcspRequest:
    """Raises OcspError: ``malformedRequest``, or ``unauthorized`` for a hash that no answer of ours bears.

    A signature on the request is not looked at: nobody has to sign (RFC 6960 4.1.2). The
    fast reader takes a request for one certificate in 3 µs; it refuses several, which the
    other reads in 60.
    """
    try:
        request = ocsp.load_der_ocsp_request(der)
        cert_ids: tuple[CertId, ...] = (
            _cert_id(
                request.hash_algorithm.name,
                request.issuer_name_hash,
                request.issuer_key_hash,
                request.serial_number,
            ),
        )
        nonce = _quick_nonce(request.extensions)
    except NotImplementedError:
        return _parse_several(der)
    except UnsupportedAlgorithm as error:
        raise OcspError("unauthorized", str(error)) from None
    except (ValueError, x509.DuplicateExtension) as error:
        raise OcspError("malformedRequest", str(error)) from None
    return OcspRequest(cert_ids=cert_ids, nonce=nonce)


def _quick_nonce(extensions: x509.Extensions) -> bytes | None:
    nonce = None
    for extension in extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = _sound_nonce(extension.value.nonce)
        elif extension.critical:
            raise OcspError("malformedRequest", f"critical extension {extension.oid.dotted_string}")
    return nonce


def _parse_several(der: bytes) -> OcspRequest:
    try:
        tbs = asn1_ocsp.OCSPRequest.load(der, strict=True)["tbs_request"]
        if tbs["version"].native != "v1" or not 1 <= len(tbs["request_list"]) <= MAX_REQUESTS:
            raise OcspError("malformedRequest", f"more than {MAX_REQUESTS} certificates, or none")
        cert_ids = tuple(_asn1_cert_id(one["req_cert"]) for one in tbs["request_list"])
        nonces = []
        for extension in tbs["request_extensions"] or ():
            if extension["extn_id"].native == "nonce":
                nonces.append(_sound_nonce(extension["extn_value"].parsed.native))
            elif extension["critical"].native:
                raise OcspError("malformedRequest", f"critical extension {extension['extn_id'].dotted}")
        if len(nonces) > 1:
            raise OcspError("malformedRequest", "two nonces")
    except (ValueError, TypeError, KeyError) as error:
        raise OcspError("malformedRequest", str(error)) from None
    return OcspRequest(cert_ids=cert_ids, nonce=nonces[0] if nonces else None)


def _asn1_cert_id(cert_id: Any) -> CertId:
    return _cert_id(
        cert_id["hash_algorithm"]["algorithm"].native,
        cert_id["issuer_name_hash"].native,
        cert_id["issuer_key_hash"].native,
        cert_id["serial_number"].native,
    )


def _cert_id(hash_name: str, name_hash: bytes, key_hash: bytes, serial: int) -> CertId:
    name = _HASH_NAMES.get(hash_name)
    if name is None:
        raise OcspError("unauthorized", f"CertID in {hash_name}")
    if {len(name_hash), len(key_hash)} != {_HASHES[name].digest_size}:
        raise OcspError("malformedRequest", f"CertID with hashes that are not {name}")
    return CertId(hash_name=name, issuer_name_hash=name_hash, issuer_key_hash=key_hash, serial=serial)


def _sound_nonce(nonce: bytes) -> bytes:
    if not 1 <= len(nonce) <= MAX_NONCE:
        raise OcspError("malformedRequest", f"a nonce of {len(nonce)} octets")
    return nonce
