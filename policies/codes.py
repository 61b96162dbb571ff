"""The rules of the e-mail code (R11, R12): how long, how often, how many tries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.errors import CodeExpired, CodeLocked, CodeMalformed, TooManyRequests

CODE_DIGITS = 6


def check_resend(now: datetime, sent: Sequence[datetime], *, pause: int) -> None:
    """Raises TooManyRequests while the ``pause`` since the last code lasts, in seconds."""
    if sent and (wait := (sent[-1] + timedelta(seconds=pause) - now).total_seconds()) > 0:
        raise TooManyRequests(int(wait) + 1)


def check_sends(sends: int, *, most: int) -> None:
    """Raises TooManyRequests when the request has had all the codes it may have."""
    if sends >= most:
        raise TooManyRequests(3600)


def check_hourly(now: datetime, sent: Sequence[datetime], *, most: int) -> None:
    """The cap of an address or a professional; ``sent`` are the sends of the past hour, in order."""
    if len(sent) >= most:
        raise TooManyRequests(int((sent[0] + timedelta(hours=1) - now).total_seconds()) + 1)


def check_shape(code: str) -> None:
    """Six ASCII digits. Raises CodeMalformed."""
    if len(code) != CODE_DIGITS or not (code.isascii() and code.isdigit()):
        raise CodeMalformed


def check_usable(now: datetime, expires_at: datetime | None, attempts_left: int) -> None:
    """Before an attempt is reserved. Raises CodeExpired, or CodeLocked once the tries are used up."""
    if attempts_left <= 0:
        raise CodeLocked
    if expires_at is None or now >= expires_at:
        raise CodeExpired
