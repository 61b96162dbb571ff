"""Sealing to the holder of a delivery token: HPKE (RFC 9180), base mode.

The token, 32 random bytes, is the private key itself. Who has only the public key can
seal; neither the issuer nor the registry can open what the worker sealed.
"""

from __future__ import annotations

from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

Part = Literal["password", "keystore"]

TOKEN_SIZE = 32
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealRefused(Exception):
    """Not sealed to this token, for this part and this context; which of them is not said."""


def derive_recipient(token: bytes) -> bytes:
    """The public key that goes to the issuer. Raises SealRefused for a token of another size."""
    return _private_key(token).public_key().public_bytes_raw()


def check_recipient(recipient: bytes) -> None:
    """Raises SealRefused for what is no X25519 public key, or one to which anybody could open."""
    try:
        seal(recipient, b"", part="password", context=b"")
    except ValueError:
        raise SealRefused("not a public key that can be sealed to") from None


def seal(recipient: bytes, content: bytes, *, part: Part, context: bytes) -> bytes:
    """Raises ValueError for a recipient that is no X25519 public key."""
    return _SUITE.encrypt(content, X25519PublicKey.from_public_bytes(recipient), _info(part, context))


def open_sealed(token: bytes, sealed: bytes, *, part: Part, context: bytes) -> bytes:
    """Raises SealRefused."""
    try:
        return _SUITE.decrypt(sealed, _private_key(token), _info(part, context))
    except (InvalidTag, ValueError):
        raise SealRefused("the sealed part does not open") from None


def _private_key(token: bytes) -> X25519PrivateKey:
    if len(token) != TOKEN_SIZE:
        raise SealRefused(f"a delivery token has {TOKEN_SIZE} bytes")
    return X25519PrivateKey.from_private_bytes(token)


def _info(part: Part, context: bytes) -> bytes:
    # The part's name holds no slash, so two different pairs never give the same info.
    return b"mycert/v1/" + part.encode() + b"/" + context
