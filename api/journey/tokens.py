"""To whom a delivery is sealed: the holder of a delivery token, or of a private key of the caller's own.

The token, 32 random bytes, is the private key itself, and stored nowhere: web opens with it what it hands
out. A caller who sends a public key instead gets ciphertext, for its own eyes only (docs/delivery.md).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from issuer.errors import DeliveryTokenInvalid
from issuer.issuance.keystore.sealing import SealRefused, check_recipient, derive_recipient

DELIVERY_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    public_key: bytes
    """X25519; all that the issuer is told."""
    token: bytes | None = field(default=None, repr=False)
    """None where only the caller can open."""

    @classmethod
    def of_token(cls, token: bytes) -> Recipient:
        return cls(public_key=derive_recipient(token), token=token)


def parse_recipient(token: str | None, key: str | None) -> Recipient | None:
    """From the headers Delivery-Token and Delivery-Key; None for neither. Raises DeliveryTokenInvalid."""
    if key is None:
        return None if token is None else Recipient.of_token(parse_delivery_token(token))
    if token is not None:
        raise DeliveryTokenInvalid("a token and a key")
    public_key = parse_delivery_token(key)
    try:
        check_recipient(public_key)
    except SealRefused:
        raise DeliveryTokenInvalid("no usable public key") from None
    return Recipient(public_key=public_key)


def parse_delivery_token(text: str | None) -> bytes:
    """32 bytes. Raises DeliveryTokenInvalid; padding is accepted, other alphabets and lengths are not."""
    stripped = (text or "").rstrip("=")
    try:
        token = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise DeliveryTokenInvalid("not base64url") from None
    if len(token) != DELIVERY_TOKEN_BYTES:
        raise DeliveryTokenInvalid(f"{len(token)} bytes")
    return token


def base64url(content: bytes) -> str:
    """Without padding (RFC 4648 5)."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
