"""pkilint's rules for OCSP are thin, so what RFC 6960 asks of an answer is asserted here."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any, cast

import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from issuer.issuance.errors import AuthorityRefused, OcspRefused
from issuer.issuance.keys import PrivateKey
from issuer.issuance.keystore.keypairs import KeyType, verifies
from issuer.publisher.ocsp import Responder, SingleAnswer, Status, build_answer
from issuer.publisher.ocsp_request import ERROR_ANSWERS, CertId, HashName
from issuer.registry.status import Revocation
from policies.reasons import X509Reason
from tests.fixtures.authorities import NOW, chain, load, private_key, responder_certificate
from tests.fixtures.linting import lint_ocsp_answer

SECOND = NOW.replace(microsecond=0)
LIFE = timedelta(hours=12)
STATUSES: list[Status] = [
    "good",
    "unknown",
    *(Revocation(revoked_at=NOW, reason=reason) for reason in X509Reason),
]


@cache
def responder(key_type: KeyType = "p-256") -> Responder:
    certificate = responder_certificate(chain(), key_type)
    return Responder.open(certificate, private_key(key_type, 30), chain().issuing.certificate, now=NOW)


def cert_id(serial: int = 77, hash_name: HashName = "sha1") -> CertId:
    return CertId.of(chain().issuing.certificate, serial, hash_name)


def answer(*statuses: Status, hash_name: HashName = "sha1", **changes: Any) -> bytes:
    arguments: dict[str, Any] = {"this_update": NOW, "next_update": NOW + LIFE, **changes}
    answers = [
        SingleAnswer(cert_id=cert_id(77 + index, hash_name), status=status)
        for index, status in enumerate(statuses)
    ]
    return build_answer(arguments.pop("responder", responder()), answers, **arguments)


def good(count: int) -> list[Status]:
    return ["good"] * count


@pytest.mark.parametrize("nonce", [None, b"n", bytes(128)], ids=["no nonce", "1 octet", "128 octets"])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("status", STATUSES, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_answers(status: Status, hash_name: HashName, nonce: bytes | None, count: int) -> None:
    der = answer(*[status] * count, hash_name=hash_name, nonce=nonce)
    lint_ocsp_answer(der)
    read = ocsp.load_der_ocsp_response(der)
    signer = responder()
    assert read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert verifies(signer.certificate.public_key(), read.signature, read.tbs_response_bytes)
    assert read.responder_key_hash == signer.key_hash
    assert read.responder_name is None
    assert read.certificates == [signer.certificate]
    nonces = [one.value.nonce for one in read.extensions if isinstance(one.value, x509.OCSPNonce)]
    assert nonces == ([] if nonce is None else [nonce])
    assert not any(one.critical for one in read.extensions)
    singles = list(read.responses)
    assert [one.serial_number for one in singles] == list(range(77, 77 + count))
    for one in singles:
        assert one.hash_algorithm.name == hash_name
        assert (one.this_update_utc, one.next_update_utc) == (SECOND, SECOND + LIFE)
        if isinstance(status, Revocation):
            assert one.certificate_status is ocsp.OCSPCertStatus.REVOKED
            assert one.revocation_time_utc == SECOND
            reason = (
                None if status.reason is X509Reason.UNSPECIFIED else x509.ReasonFlags(status.reason.value)
            )
            assert one.revocation_reason == reason
        else:
            assert one.certificate_status.name == status.upper()


@pytest.mark.parametrize("key_type", ["p-384", "rsa-3072"])
@pytest.mark.parametrize("count", [1, 2])
def test_signers_of_other_key_types(key_type: KeyType, count: int) -> None:
    der = answer(*good(count), responder=responder(key_type))
    read = ocsp.load_der_ocsp_response(der)
    assert verifies(responder(key_type).certificate.public_key(), read.signature, read.tbs_response_bytes)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_cert_ids_are_those_that_askers_compute(hash_name: HashName) -> None:
    certificate, issuer = chain().certificate(), chain().issuing.certificate
    algorithm = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}[hash_name]()
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm).build()
    ours = CertId.of(issuer, certificate.serial_number, hash_name)
    assert ours.issuer == (hash_name, asked.issuer_name_hash, asked.issuer_key_hash)
    assert ours.serial == asked.serial_number


@pytest.mark.parametrize(
    ("this_update", "next_update"),
    [(NOW, NOW), (NOW, NOW - LIFE), (NOW, NOW + timedelta(days=61))],
    ids=["no life", "backwards", "longer than its signer lives"],
)
@pytest.mark.parametrize("count", [1, 2])
def test_times_that_cannot_be_promised(this_update: Any, next_update: Any, count: int) -> None:
    with pytest.raises(OcspRefused):
        answer(*good(count), this_update=this_update, next_update=next_update)


def test_an_answer_about_nothing_is_refused() -> None:
    with pytest.raises(OcspRefused):
        answer()


def test_answers_may_last_as_long_as_their_signer() -> None:
    answer("good", next_update=responder().not_after)


class _Stale(ec.EllipticCurvePrivateKey):
    def public_key(self) -> ec.EllipticCurvePublicKey:
        return cast("ec.EllipticCurvePublicKey", responder().certificate.public_key())

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        return cast("ec.EllipticCurvePrivateKey", private_key("p-256", 99)).sign(data, signature_algorithm)

    curve = property(lambda self: ec.SECP256R1())
    key_size = property(lambda self: 256)

    def _unused(self, *_: object, **__: object) -> Any:
        raise NotImplementedError

    exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _unused


@pytest.mark.parametrize("count", [1, 2])
def test_a_signature_of_another_key_never_leaves(count: int) -> None:
    stale = Responder.open(
        responder().certificate, cast("PrivateKey", _Stale()), chain().issuing.certificate, now=NOW
    )
    with pytest.raises(OcspRefused, match="does not verify"):
        answer(*good(count), responder=stale)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_HASHES", dict.fromkeys(("sha1", "sha256"), bytes.fromhex("300d06096086480165030402020500"))),
        ("REASON_CODES", {X509Reason.KEY_COMPROMISE: 9}),
        ("IMPLICIT", 0x82),
        ("_NONCE", bytes.fromhex("06092b0601050507300109")),
        ("_time", lambda _: bytes.fromhex("180f32303230303130313030303030305a")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_reads_as_something_else_never_leaves(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: object
) -> None:
    monkeypatch.setattr(f"issuer.publisher.ocsp.{name}", wrong)
    revoked = Revocation(revoked_at=NOW, reason=X509Reason.KEY_COMPROMISE)
    with pytest.raises(OcspRefused):
        answer(revoked, "good", nonce=b"n")


def test_a_signer_says_that_it_is_one() -> None:
    """RFC 6960 4.2.2.2: id-kp-OCSPSigning; 4.2.2.2.1: id-pkix-ocsp-nocheck."""
    extensions = responder().certificate.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.OCSP_SIGNING
    ]
    assert extensions.get_extension_for_class(x509.OCSPNoCheck)


def test_who_is_no_signer_is_refused() -> None:
    issuing, right = chain().issuing, responder().certificate
    key = private_key("p-256", 30)
    with pytest.raises(AuthorityRefused, match="not signed by its issuer"):
        Responder.open(right, key, chain(number=1).issuing.certificate, now=NOW)
    with pytest.raises(AuthorityRefused, match="key is not"):
        Responder.open(right, private_key("p-256", 31), issuing.certificate, now=NOW)
    with pytest.raises(AuthorityRefused, match="not valid now"):
        Responder.open(right, key, issuing.certificate, now=responder().not_after + timedelta(seconds=1))
    with pytest.raises(AuthorityRefused):
        Responder.open(chain().certificate(), private_key("p-256", 7), issuing.certificate, now=NOW)


def certified(*extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate of the issuing CA that no profile of ours would give."""
    issuing, key = chain().issuing.certificate, private_key("p-256", 30)
    builder = x509.CertificateBuilder(
        issuer_name=issuing.subject,
        subject_name=responder().certificate.subject,
        public_key=key.public_key(),
        serial_number=5,
        not_valid_before=SECOND,
        not_valid_after=SECOND + timedelta(days=10),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return load(builder.sign(private_key("p-384", 20), hashes.SHA384()).public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    "extensions",
    [
        [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])],
        [x509.OCSPNoCheck()],
        [
            x509.OCSPNoCheck(),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.CLIENT_AUTH]),
        ],
    ],
    ids=["checked for revocation", "no purpose", "two purposes"],
)
def test_a_signer_without_the_marks_is_refused(extensions: list[x509.ExtensionType]) -> None:
    with pytest.raises(AuthorityRefused):
        Responder.open(certified(*extensions), private_key("p-256", 30), chain().issuing.certificate, now=NOW)


@pytest.mark.parametrize(
    ("name", "code"),
    [("malformedRequest", 1), ("tryLater", 3), ("unauthorized", 6)],
)
def test_error_answers_are_five_octets(name: Any, code: int) -> None:
    """RFC 6960 4.2.1: responseBytes is absent where the status is an error."""
    assert ERROR_ANSWERS[name] == bytes.fromhex(f"30030a01{code:02x}")
    assert asn1_ocsp.OCSPResponse.load(ERROR_ANSWERS[name], strict=True)["response_bytes"].native is None
