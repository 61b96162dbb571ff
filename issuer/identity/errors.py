"""Why an assertion is not believed. The message is for the log and never holds the token."""

from __future__ import annotations

from issuer.errors import IssuerError


class IdentityConfigRefused(Exception):
    """The section [identity] cannot be served; raised at start, before any socket opens."""


class AssertionRefused(IssuerError):
    """Forged, outlived, meant for others, or not of the agreed shape."""

    code = "unauthenticated"


class AuthenticationTooOld(IssuerError):
    """The assertion holds, but its login lies too far back for this act."""

    code = "authentication-too-old"


class ProviderKeysUnavailable(AssertionRefused):
    """The provider's keys cannot be had: nobody can be believed, and nobody has forged anything.

    The client's code stays ``unauthenticated``; the class tells the log and the health
    check that the fault is not the caller's.
    """

    retry_after = 10
