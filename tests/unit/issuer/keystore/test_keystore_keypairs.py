from __future__ import annotations

from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from issuer.issuance.keystore.errors import ProofRefused
from issuer.issuance.keystore.keypairs import (
    KeyType,
    generate,
    prove,
    public_bytes,
    verify_proof,
)

NONCE = bytes(32)


@pytest.mark.parametrize("key_type", ["rsa-2048", "p-256", "p-384"])
def test_a_proof_verifies_for_its_own_key_type_and_no_other(key_type: KeyType) -> None:
    key = generate(key_type)
    spki = public_bytes(key.public_key())
    proof = prove(key, NONCE)
    verify_proof(key_type, spki, NONCE, proof)
    for other in set(get_args(KeyType)) - {key_type}:
        with pytest.raises(ProofRefused, match="not one of type"):
            verify_proof(other, spki, NONCE, proof)


def test_a_proof_is_for_one_nonce_and_one_key() -> None:
    key, other = generate("p-256"), generate("p-256")
    proof = prove(key, NONCE)
    with pytest.raises(ProofRefused, match="does not verify"):
        verify_proof("p-256", public_bytes(key.public_key()), b"another nonce", proof)
    with pytest.raises(ProofRefused, match="does not verify"):
        verify_proof("p-256", public_bytes(other.public_key()), NONCE, proof)


@pytest.mark.parametrize("spki", [b"", b"\x30\x03\x02\x01\x00", b"\x30\x80"])
def test_bytes_that_are_no_public_key_are_refused(spki: bytes) -> None:
    with pytest.raises(ProofRefused):
        verify_proof("p-256", spki, NONCE, b"proof")


def test_a_key_of_another_algorithm_is_refused() -> None:
    key = Ed25519PrivateKey.generate()
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ProofRefused, match="neither RSA nor EC"):
        verify_proof("p-256", spki, NONCE, key.sign(b""))


def test_a_point_in_compressed_form_is_refused() -> None:
    """The certificate profile wants the one encoding that every reader takes."""
    key = generate("p-256")
    numbers = public_bytes(key.public_key())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    head = bytearray(numbers[:-65])
    head[1] -= 32  # the outer SEQUENCE
    head[-2] -= 32  # the BIT STRING
    compressed = bytes(head) + point
    assert load_der_public_key(compressed) == key.public_key()
    with pytest.raises(ProofRefused):
        verify_proof("p-256", compressed, NONCE, prove(key, NONCE))
