"""Key types by name, and how each signs: PKCS #1 v1.5 for RSA, ECDSA with the hash of the curve's strength.

RSA-PSS is left out on purpose: today's consumers sign and verify RSA-SHA256 (R28).
"""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache
from typing import cast

from asn1crypto import algos
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.signing import PrivateKey as TokenKey
from issuer.issuance.keystore.keypairs import CURVES, RSA_BITS, KeyType, PublicKey

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def key_type_of(key: object) -> KeyType:
    """Raises ValueError for any key that is none of ours, an RSA exponent other than 65537 included."""
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e == 65537:
        for name, bits in RSA_BITS.items():
            if key.key_size == bits:
                return name
    if isinstance(key, ec.EllipticCurvePublicKey):
        for name, curve in CURVES.items():
            if key.curve.name == curve.name:
                return name
    raise ValueError("a key type that is not served")


def public_key(key: object) -> PublicKey:
    """Narrow what a library returned; raises ValueError as ``key_type_of`` does."""
    key_type_of(key)
    return cast("PublicKey", key)


def spki(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(key: PublicKey) -> str:
    return hashlib.sha256(spki(key)).hexdigest()


def signature_hash(key: PublicKey) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA384() if key_type_of(key) == "p-384" else hashes.SHA256()


def signature_algorithm(key: PublicKey) -> bytes:
    """DER of the AlgorithmIdentifier (RFC 8017 A.2.4, RFC 5758)."""
    kind = "rsa" if isinstance(key, rsa.RSAPublicKey) else "ecdsa"
    return _algorithm(f"{signature_hash(key).name}_{kind}")


@lru_cache
def _algorithm(name: str) -> bytes:
    der: bytes = algos.SignedDigestAlgorithm({"algorithm": name}).dump()
    return der


def sign(key: PrivateKey, data: bytes) -> bytes:
    algorithm = signature_hash(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), algorithm)
    return key.sign(data, ec.ECDSA(algorithm))


def sign_verified(key: PrivateKey, data: bytes) -> bytes | None:
    """A signature that verifies with the key's own public key; None where it does not.

    Keys on a token look at their signatures themselves and raise; once is enough.
    """
    signature = sign(key, data)
    if isinstance(key, TokenKey) or verifies(key.public_key(), signature, data):
        return signature
    return None


def verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    algorithm = signature_hash(key)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        else:
            key.verify(signature, data, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


@lru_cache
def throw_away_key(key_type: KeyType) -> PrivateKey:
    """Made once per process and trusted by nobody: templates are signed with it to be linted."""
    if key_type in RSA_BITS:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS[key_type])
    return ec.generate_private_key(CURVES[key_type])


@lru_cache
def sample_public_key(key_type: KeyType) -> PublicKey:
    """A public key that proves a profile. A modulus needs no known factors for that, so RSA costs nothing."""
    if key_type not in RSA_BITS:
        return throw_away_key(key_type).public_key()
    bits = RSA_BITS[key_type]
    modulus = secrets.randbits(bits) | 1 << bits - 1 | 1
    return rsa.RSAPublicNumbers(65537, modulus).public_key()
