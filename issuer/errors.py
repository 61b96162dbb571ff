"""What the issuer refuses or cannot do; ``code`` is the contract's problem code."""

from __future__ import annotations

from typing import ClassVar


class IssuerError(Exception):
    """Root of the tree. The message is for the log; a client gets the code's fixed text."""

    code: ClassVar[str] = "internal"
    retry_after: int | None = None


class NotFound(IssuerError):
    """No such object, or not this person's: the two are not told apart."""

    code = "not-found"


class CaUnavailable(IssuerError):
    """The token, the worker or the database cannot serve; nothing half-made stays behind."""

    code = "ca-unavailable"
    retry_after = 5


class Overloaded(IssuerError):
    """The queue of issuances is full, or this person's own limit is reached."""

    code = "too-many-requests"
    retry_after = 5


class DeliveryExpired(IssuerError):
    code = "delivery-expired"


class DeliveryTokenInvalid(IssuerError):
    code = "delivery-token-invalid"


class RequestAlreadyUsed(IssuerError):
    """A request id was used before for another order: one request makes at most one store."""

    code = "wrong-state"
