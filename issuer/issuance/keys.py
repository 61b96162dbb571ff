"""The keys of authorities, on a token or thrown away: narrowed, named in DER, and verified when they sign."""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import cast

from asn1crypto import algos
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hsm.signing import PrivateKey as TokenKey
from issuer.issuance.errors import AuthorityRefused
from issuer.issuance.keystore.keypairs import (
    RSA_BITS,
    KeyType,
    PublicKey,
    generate,
    key_type_of,
    sign,
    signature_hash,
    verifies,
)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def public_key(key: object) -> PublicKey:
    """Narrow what a library returned; raises ValueError as ``key_type_of`` does."""
    key_type_of(key)
    return cast("PublicKey", key)


def signature_algorithm(key: PublicKey) -> bytes:
    """DER of the AlgorithmIdentifier (RFC 8017 A.2.4, RFC 5758)."""
    kind = "rsa" if isinstance(key, rsa.RSAPublicKey) else "ecdsa"
    return _algorithm(f"{signature_hash(key).name}_{kind}")


@lru_cache
def _algorithm(name: str) -> bytes:
    der: bytes = algos.SignedDigestAlgorithm({"algorithm": name}).dump()
    return der


def sign_verified(key: PrivateKey, data: bytes) -> bytes:
    """A signature that verifies with the key's own public key; raises AuthorityRefused.

    Keys on a token look at their signatures themselves and raise; once is enough.
    """
    signature = sign(key, data)
    if not isinstance(key, TokenKey) and not verifies(key.public_key(), signature, data):
        raise AuthorityRefused("the key's signature does not verify")
    return signature


@lru_cache
def throw_away_key(key_type: KeyType) -> PrivateKey:
    """Made once per process and trusted by nobody: templates are signed with it to be linted."""
    return generate(key_type)


@lru_cache
def sample_public_key(key_type: KeyType) -> PublicKey:
    """A public key that proves a profile. A modulus needs no known factors for that, so RSA costs nothing."""
    if key_type not in RSA_BITS:
        return throw_away_key(key_type).public_key()
    bits = RSA_BITS[key_type]
    modulus = secrets.randbits(bits) | 1 << bits - 1 | 1
    return rsa.RSAPublicNumbers(65537, modulus).public_key()
