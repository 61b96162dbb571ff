"""The delivery token: 32 random bytes, base64url on the wire, stored nowhere."""

from __future__ import annotations

import base64
import binascii

from issuer.errors import DeliveryTokenInvalid

DELIVERY_TOKEN_BYTES = 32


def parse_delivery_token(text: str | None) -> bytes:
    """Raises DeliveryTokenInvalid; padding is accepted, other alphabets and lengths are not."""
    stripped = (text or "").rstrip("=")
    try:
        token = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise DeliveryTokenInvalid("not base64url") from None
    if len(token) != DELIVERY_TOKEN_BYTES:
        raise DeliveryTokenInvalid(f"{len(token)} bytes")
    return token


def format_delivery_token(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode().rstrip("=")
