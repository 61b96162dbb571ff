"""The few values of DER (X.690) joined by hand, where a library would cost hundreds of times as much.

What is put together here is read back by a library before it leaves.
"""

from __future__ import annotations

from typing import Final

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
ENUMERATED: Final = 0x0A
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
IMPLICIT: Final = 0x80
"""[0] of a primitive type; add the number of any other."""
EXPLICIT: Final = 0xA0
"""[0] around a whole value, or of a constructed type; add the number of any other."""


def tlv(tag: int, *contents: bytes) -> bytes:
    """One DER value of definite length (X.690 8.1.3), its contents joined once."""
    size = sum(map(len, contents))
    if size < 0x80:
        return b"".join((bytes([tag, size]), *contents))
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return b"".join((bytes([tag, 0x80 | len(length)]), length, *contents))
