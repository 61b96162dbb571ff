"""``cryptography``'s builders sign with keys of a real token, and threads sign at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from hsm.signing import PrivateKey
from hsm.token import Token
from tests.fixtures.softhsm import make_key, sign_and_verify

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
HASHES = [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]


@pytest.fixture(params=["p-384", "p-256", "rsa-2048"])
def ca_key(request: pytest.FixtureRequest, token: Token) -> PrivateKey:
    return make_key(token, "ca", request.param)


def certificate(key: PrivateKey) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA384())
    )


def test_certificates(ca_key: PrivateKey) -> None:
    certificate(ca_key).verify_directly_issued_by(certificate(ca_key))


def test_crls(ca_key: PrivateKey) -> None:
    builder = x509.CertificateRevocationListBuilder(issuer_name=NAME)
    crl = builder.last_update(NOW).next_update(NOW + timedelta(days=1)).sign(ca_key, hashes.SHA256())
    assert crl.is_signature_valid(ca_key.public_key())


def test_ocsp_answers(ca_key: PrivateKey) -> None:
    issuer = certificate(ca_key)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=issuer,
        issuer=issuer,
        algorithm=hashes.SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=NOW,
        next_update=NOW + timedelta(hours=1),
        revocation_time=None,
        revocation_reason=None,
    )
    answer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer).sign(ca_key, hashes.SHA256())
    signed, signature, public_key = answer.tbs_response_bytes, answer.signature, ca_key.public_key()
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    else:
        public_key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda algorithm: algorithm.name)
def test_every_hash(token: Token, algorithm: hashes.HashAlgorithm) -> None:
    ec_key, rsa_key = make_key(token, "ec"), make_key(token, "rsa", "rsa-2048")
    assert isinstance(ec_key, ec.EllipticCurvePrivateKey)
    signature = ec_key.sign(b"to be signed", ec.ECDSA(algorithm))
    ec_key.public_key().verify(signature, b"to be signed", ec.ECDSA(algorithm))
    assert not isinstance(rsa_key, ec.EllipticCurvePrivateKey)
    signature = rsa_key.sign(b"to be signed", padding.PKCS1v15(), algorithm)
    rsa_key.public_key().verify(signature, b"to be signed", padding.PKCS1v15(), algorithm)


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_sign_at_once(token: Token, threads: int) -> None:
    """With C_Initialize(NULL) two threads were enough to crash the process; here more than sessions."""
    keys = [make_key(token, "ec"), make_key(token, "rsa", "rsa-2048")]
    share = 2000 // threads

    def sign(thread: int) -> None:
        for number in range(share):
            sign_and_verify(keys[(thread + number) % 2], f"{thread} {number}".encode())

    with ThreadPoolExecutor(threads) as pool:
        for run in [pool.submit(sign, thread) for thread in range(threads)]:
            run.result()
    assert token.generation == token._pool.generation  # type: ignore[union-attr]
