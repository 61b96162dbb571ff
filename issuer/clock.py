"""Time and randomness, the only place either is read; both are handed in everywhere else."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""

RandomBytes = Callable[[int], bytes]
"""Returns that many bytes from a cryptographic source."""


def system_clock() -> datetime:
    return datetime.now(UTC)


def system_random(size: int) -> bytes:
    return secrets.token_bytes(size)
