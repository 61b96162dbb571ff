"""Media types as RFC 9110 has them: what a caller sends, and what it takes."""

from __future__ import annotations

import re
from typing import Final

from litestar.enums import MediaType

JSON: Final = MediaType.JSON.value
PKCS12: Final = "application/x-pkcs12"
SEALED: Final = "application/octet-stream"
"""The PKCS#12 as ciphertext, for who brought a key of their own."""

_JSON_TYPE: Final = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_WEIGHT: Final = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def is_json(content_type: str) -> bool:
    """application/json, in UTF-8 (RFC 8259 8.1) if a charset is named at all."""
    return _JSON_TYPE.fullmatch(content_type.strip()) is not None


def accepts(accept: str, offered: str) -> bool:
    """Whether an Accept header lets us answer with ``offered``; the most specific range decides (12.5.1)."""
    if not accept.strip():
        return True
    specificity = {offered: 2, offered.partition("/")[0] + "/*": 1, "*/*": 0}
    best, weight = -1, 0.0
    for entry in accept.split(","):
        media_range, *parameters = (part.strip() for part in entry.split(";"))
        rank = specificity.get(media_range.lower(), -1)
        if rank < best or rank == -1:
            continue
        asked = _weight(parameters)
        weight = max(weight, asked) if rank == best else asked
        best = rank
    return weight > 0


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.lower().startswith("q"):
            found = _WEIGHT.fullmatch(parameter)
            return float(found.group(1)) if found else 0.0
    return 1.0
