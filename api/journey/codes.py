"""The six-digit code: made, hashed under a key outside the database, sent by mail at once."""

from __future__ import annotations

import hashlib
import hmac

from issuer.clock import RandomBytes
from issuer.secrets import Secret
from policies.codes import CODE_DIGITS

MIN_KEY_BYTES = 32


class CodeBook:
    """Makes codes and their hashes. A code is a value of its request: the hash binds it to that id."""

    def __init__(self, key: Secret, random: RandomBytes) -> None:
        if len(key.reveal()) < MIN_KEY_BYTES:
            raise ValueError(f"journey.code_key_file: at least {MIN_KEY_BYTES} bytes")
        self._key = key
        self._random = random

    def make(self) -> str:
        # 64 random bits over a million values: no code is likelier than another by 1 in 10^13.
        return f"{int.from_bytes(self._random(8)) % 10**CODE_DIGITS:0{CODE_DIGITS}d}"

    def hash_code(self, request_id: str, code: str) -> bytes:
        return self._hmac(b"code", request_id, code)

    def hash_address(self, address: str) -> bytes:
        """For counting the codes of an address without keeping it."""
        return self._hmac(b"address", address.casefold(), "")

    def _hmac(self, purpose: bytes, *parts: str) -> bytes:
        message = b"\0".join([purpose, *(part.encode() for part in parts)])
        return hmac.new(self._key.reveal(), message, hashlib.sha256).digest()
