"""The one type a secret travels in: it does not print, compare or pickle."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NoReturn


class SecretFileRefused(Exception):
    """A secret's file is missing, empty, or readable by others than its owner."""


class Secret:
    """Bytes that show as ``***`` wherever they are printed, logged or formatted.

    ``reveal()`` is called at the one place that consumes the value; a lint in the
    tests lists the call sites, so that a new one is noticed.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    @classmethod
    def from_file(cls, path: Path) -> Secret:
        """Read a secret file of mode 0600 or stricter, without its last line feed.

        Raises SecretFileRefused; the message names the path, never the content.
        """
        try:
            mode = path.stat().st_mode
            value = path.read_bytes()
        except OSError as error:
            raise SecretFileRefused(f"{path}: {error.strerror}") from None
        if stat.S_IMODE(mode) & 0o077:
            raise SecretFileRefused(f"{path}: readable by others than its owner (want mode 0600)")
        value = value.removesuffix(b"\n")
        if not value:
            raise SecretFileRefused(f"{path}: empty")
        return cls(value)

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")
