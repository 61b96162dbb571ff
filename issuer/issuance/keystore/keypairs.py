"""The professional's key pair, and the proof that its maker holds the private half."""

from __future__ import annotations

from typing import Final, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

KeyType = Literal["rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384"]
"""Defined here and not beside the issuer's own keys: the template loads nothing of a token."""
KeyPair = RSAPrivateKey | EllipticCurvePrivateKey
PublicKey = RSAPublicKey | EllipticCurvePublicKey

RSA_BITS: Final[dict[KeyType, int]] = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
CURVES: Final[dict[KeyType, SECP256R1 | SECP384R1]] = {"p-256": SECP256R1(), "p-384": SECP384R1()}
_EXPONENT = 65537
_PURPOSE = b"mycert/v1/proof-of-possession/"


class ProofRefused(Exception):
    """The public key is not of the ordered type, or its proof does not verify."""


def generate(key_type: KeyType) -> KeyPair:
    if key_type in RSA_BITS:
        return generate_rsa(_EXPONENT, RSA_BITS[key_type])
    return generate_private_key(CURVES[key_type])


def public_bytes(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def prove(key: KeyPair, nonce: bytes) -> bytes:
    """Sign the order's nonce and the public key, under a purpose no certificate or message shares."""
    statement = _PURPOSE + nonce + public_bytes(key.public_key())
    if isinstance(key, RSAPrivateKey):
        return key.sign(statement, PKCS1v15(), SHA256())
    return key.sign(statement, ECDSA(SHA256()))


def verify_proof(key_type: KeyType, spki: bytes, nonce: bytes, proof: bytes) -> PublicKey:
    """The public key, which is of that type. Raises ProofRefused."""
    try:
        key = load_der_public_key(spki)
        statement = _PURPOSE + nonce + spki
        if isinstance(key, RSAPublicKey):
            key.verify(proof, statement, PKCS1v15(), SHA256())
            matches = key.key_size == RSA_BITS.get(key_type) and key.public_numbers().e == _EXPONENT
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(proof, statement, ECDSA(SHA256()))
            matches = key_type in CURVES and key.curve.name == CURVES[key_type].name
        else:
            raise ProofRefused("the public key is neither RSA nor EC")
        matches = matches and public_bytes(key) == spki
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise ProofRefused(f"the proof of possession does not verify: {type(error).__name__}") from None
    if not matches:
        raise ProofRefused(f"the public key is not one of type {key_type} in DER")
    return key
