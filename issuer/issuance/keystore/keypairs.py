"""Key types by name, how each signs, and the proof that a key pair's maker holds the private half.

PKCS #1 v1.5 for RSA, ECDSA with the hash of the curve's strength for EC. RSA-PSS is left out on purpose:
today's consumers sign and verify RSA-SHA256 (R28). The template loads this, and nothing of a token.
"""

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
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from issuer.issuance.keystore.errors import ProofRefused

KeyType = Literal["rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384"]
KeyPair = RSAPrivateKey | EllipticCurvePrivateKey
PublicKey = RSAPublicKey | EllipticCurvePublicKey

RSA_BITS: Final[dict[KeyType, int]] = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
CURVES: Final[dict[KeyType, SECP256R1 | SECP384R1]] = {"p-256": SECP256R1(), "p-384": SECP384R1()}
_EXPONENT = 65537
_PURPOSE = b"mycert/v1/proof-of-possession/"


def generate(key_type: KeyType) -> KeyPair:
    if key_type in RSA_BITS:
        return generate_rsa(_EXPONENT, RSA_BITS[key_type])
    return generate_private_key(CURVES[key_type])


def key_type_of(key: object) -> KeyType:
    """Raises ValueError for any key that is none of ours, an RSA exponent other than 65537 included."""
    if isinstance(key, RSAPublicKey) and key.public_numbers().e == _EXPONENT:
        for name, bits in RSA_BITS.items():
            if key.key_size == bits:
                return name
    if isinstance(key, EllipticCurvePublicKey):
        for name, curve in CURVES.items():
            if key.curve.name == curve.name:
                return name
    raise ValueError("a key type that is not served")


def signature_hash(key: PublicKey) -> SHA256 | SHA384:
    return SHA384() if key_type_of(key) == "p-384" else SHA256()


def sign(key: KeyPair, data: bytes) -> bytes:
    algorithm = signature_hash(key.public_key())
    if isinstance(key, RSAPrivateKey):
        return key.sign(data, PKCS1v15(), algorithm)
    return key.sign(data, ECDSA(algorithm))


def verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    algorithm = signature_hash(key)
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, data, PKCS1v15(), algorithm)
        else:
            key.verify(signature, data, ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def public_bytes(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def prove(key: KeyPair, nonce: bytes) -> bytes:
    """Sign the order's nonce and the public key, under a purpose no certificate or message shares."""
    return sign(key, _PURPOSE + nonce + public_bytes(key.public_key()))


def verify_proof(key_type: KeyType, spki: bytes, nonce: bytes, proof: bytes) -> PublicKey:
    """The public key, which is of that type. Raises ProofRefused."""
    try:
        key = load_der_public_key(spki)
        if not isinstance(key, PublicKey):
            raise ProofRefused("the public key is neither RSA nor EC")
        verified = verifies(key, proof, _PURPOSE + nonce + spki)
        matches = key_type_of(key) == key_type and public_bytes(key) == spki
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProofRefused(f"no public key of a type that is served: {type(error).__name__}") from None
    if not verified:
        raise ProofRefused("the proof of possession does not verify")
    if not matches:
        raise ProofRefused(f"the public key is not one of type {key_type} in DER")
    return key
