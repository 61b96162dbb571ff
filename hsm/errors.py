"""What can go wrong at the token. Messages name tokens, keys and return codes, never a PIN."""

from __future__ import annotations


class HsmError(Exception):
    """Base of everything this package raises on purpose."""


class TokenUnavailable(HsmError):
    """The token is gone, or failed again after one recovery. The API says ``ca-unavailable``."""


class SignatureWrong(TokenUnavailable):
    """A signature did not verify with the expected public key, and was not handed out."""


class TokenExists(HsmError):
    """A token of this label exists; initialising would hide it, or wipe it."""


class PinRefused(HsmError):
    """The PIN is not set, locked, about to be locked, or was refused."""


class PinWrong(PinRefused):
    """The token refused the PIN. This process does not try it again."""


class KeyRefused(HsmError):
    """A key that must not be used: extractable, ambiguous, not sign-only, or not its certificate's."""


class KeyMissing(KeyRefused):
    """No key of this label is on the token."""


class KeyExists(HsmError):
    """The label or identifier is taken; labels are never used again."""
