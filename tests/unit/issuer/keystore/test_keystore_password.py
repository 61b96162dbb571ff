from __future__ import annotations

import math
from collections import Counter

from issuer.clock import system_random
from issuer.issuance.keystore.password import ALPHABET, LENGTH, make_password


def test_has_the_strength_it_claims() -> None:
    assert len(set(ALPHABET)) == 32
    assert LENGTH * math.log2(len(ALPHABET)) >= 128
    assert len(make_password(system_random)) == LENGTH


def test_is_ascii_letters_and_digits_without_look_alikes() -> None:
    assert ALPHABET.isascii()
    assert ALPHABET.isalnum()
    assert not set(ALPHABET) & set("0Oo1lI")


def test_every_symbol_is_as_likely_as_any_other() -> None:
    every_byte = bytes(range(256))
    counts: Counter[str] = Counter()
    for start in range(0, 256, LENGTH):
        piece = every_byte[start : start + LENGTH]
        counts.update(make_password(lambda _, piece=piece: piece))  # type: ignore[misc]
    assert set(counts.values()) == {8}
