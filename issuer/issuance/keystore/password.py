"""The store's password."""

from __future__ import annotations

from issuer.clock import RandomBytes

# 32 symbols, one case, without 0 O 1 I: five bits each, and a byte's low five bits choose
# one without bias. ASCII only: anything else breaks Java's and 3DES readers.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
LENGTH = 26  # 130 bits


def make_password(random: RandomBytes) -> str:
    return "".join(ALPHABET[byte & 31] for byte in random(LENGTH))
