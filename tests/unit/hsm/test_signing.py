"""Orders are carried out here by a key in software, which signs what a token would be given."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Mechanism

from hsm.errors import KeyRefused, SignatureWrong
from hsm.signing import SignatureOrder, TokenEcKey, TokenRsaKey, ecdsa_order, probe_order, rsa_order

TEXT = b"to be signed"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_KEY_384 = ec.generate_private_key(ec.SECP384R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
HASHES = [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]


def carry_out(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, order: SignatureOrder) -> bytes:
    """What the mechanism of the order does, in the token's output format."""
    if isinstance(key, rsa.RSAPrivateKey):
        assert order.mechanism is Mechanism.RSA_PKCS
        return key.sign(order.data, padding.PKCS1v15(), NoDigestInfo())
    assert order.mechanism is Mechanism.ECDSA
    size = key.key_size // 8
    as_hash = {32: hashes.SHA256(), 48: hashes.SHA384()}[len(order.data)]
    r, s = decode_dss_signature(key.sign(order.data, ec.ECDSA(Prehashed(as_hash))))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda algorithm: algorithm.name)
@pytest.mark.parametrize("key", [EC_KEY_384, EC_KEY], ids=["p-384", "p-256"])
def test_ecdsa_is_what_cryptography_verifies(
    key: ec.EllipticCurvePrivateKey, algorithm: hashes.HashAlgorithm
) -> None:
    order = ecdsa_order(key.public_key(), TEXT, ec.ECDSA(algorithm))
    if len(order.data) < algorithm.digest_size:
        assert len(order.data) == key.key_size // 8  # FIPS 186-5 6.4.1: the leftmost bits
    signature = order.accept(carry_out(key, order))
    key.public_key().verify(signature, TEXT, ec.ECDSA(algorithm))


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda algorithm: algorithm.name)
def test_pkcs1_is_byte_for_byte_what_openssl_makes(algorithm: hashes.HashAlgorithm) -> None:
    order = rsa_order(RSA_KEY.public_key(), TEXT, padding.PKCS1v15(), algorithm)
    assert order.accept(carry_out(RSA_KEY, order)) == RSA_KEY.sign(TEXT, padding.PKCS1v15(), algorithm)


@given(data=st.data())
def test_no_altered_signature_leaves(data: st.DataObject) -> None:
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = EC_KEY if data.draw(st.booleans()) else RSA_KEY
    order = probe_order(key.public_key())
    raw = bytearray(carry_out(key, order))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureWrong):
        order.accept(bytes(raw))


@pytest.mark.parametrize("raw", [b"", b"\x00" * 64, b"\x01" * 63, b"\x01" * 65])
def test_what_is_no_signature_at_all_does_not_leave(raw: bytes) -> None:
    with pytest.raises(SignatureWrong):
        probe_order(EC_KEY.public_key()).accept(raw)


def test_the_signature_of_another_key_does_not_leave() -> None:
    order = probe_order(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(SignatureWrong):
        order.accept(carry_out(EC_KEY, order))


@pytest.mark.parametrize(
    "algorithm",
    [
        ec.ECDSA(hashes.SHA1()),  # noqa: S303
        ec.ECDSA(hashes.SHA3_256()),
        ec.ECDSA(Prehashed(hashes.SHA256())),
        ec.ECDSA(hashes.SHA256(), deterministic_signing=True),
    ],
)
def test_other_ecdsa_is_refused(algorithm: ec.ECDSA) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        ecdsa_order(EC_KEY.public_key(), TEXT, algorithm)


@pytest.mark.parametrize(
    ("scheme", "algorithm"),
    [
        (padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303
        (padding.PKCS1v15(), NoDigestInfo()),
        (padding.PKCS1v15(), Prehashed(hashes.SHA256())),
        (padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None), hashes.SHA256()),
        (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    ],
)
def test_other_rsa_is_refused(scheme: padding.AsymmetricPadding, algorithm: Any) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        rsa_order(RSA_KEY.public_key(), TEXT, scheme, algorithm)


def test_keys_are_cryptographys_and_sign_through_their_token() -> None:
    ec_key = TokenEcKey(EC_KEY.public_key(), lambda order: order.accept(carry_out(EC_KEY, order)))
    assert isinstance(ec_key, ec.EllipticCurvePrivateKey)
    assert (ec_key.curve.name, ec_key.key_size) == ("secp256r1", 256)
    ec_key.public_key().verify(ec_key.sign(TEXT, ec.ECDSA(hashes.SHA256())), TEXT, ec.ECDSA(hashes.SHA256()))
    rsa_key = TokenRsaKey(RSA_KEY.public_key(), lambda order: order.accept(carry_out(RSA_KEY, order)))
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert rsa_key.key_size == 2048
    signature = rsa_key.sign(TEXT, padding.PKCS1v15(), hashes.SHA256())
    RSA_KEY.public_key().verify(signature, TEXT, padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        RSA_KEY.public_key().verify(signature, b"another text", padding.PKCS1v15(), hashes.SHA256())


def never(order: SignatureOrder) -> bytes:
    raise AssertionError("nothing is signed here")


@pytest.mark.parametrize(
    "key", [TokenEcKey(EC_KEY.public_key(), never), TokenRsaKey(RSA_KEY.public_key(), never)]
)
def test_a_key_does_nothing_but_sign(key: TokenEcKey | TokenRsaKey) -> None:
    with pytest.raises(KeyRefused):
        key.private_numbers()
    with pytest.raises(KeyRefused):
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(KeyRefused):
        if isinstance(key, TokenEcKey):
            key.exchange(ec.ECDH(), EC_KEY.public_key())
        else:
            key.decrypt(b"", padding.PKCS1v15())
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
