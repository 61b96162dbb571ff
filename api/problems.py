"""RFC 9457 problem documents: the only module that knows what an error looks like on the wire.

An exception says which problem it is by its attribute ``code``; the client gets that code's fixed text, the
log gets the cause. Nothing of a message, of input or of the inside ever enters a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec
import sqlalchemy.exc
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Send

from api.logs import get_logger

MEDIA_TYPE: Final = "application/problem+json"

# code: (status, title, detail), after "Errors" in the HTTP contract.
PROBLEMS: Final[Mapping[str, tuple[int, str, str]]] = {
    "unauthenticated": (401, "Not authenticated", "Log in and send a valid bearer token."),
    "authentication-too-old": (401, "Authentication too old", "Log in with LuxTrust again."),
    "account-not-valid": (403, "Account not valid", "Your eSanté account is not valid."),
    "not-luxtrust": (403, "LuxTrust required", "Log in with LuxTrust."),
    "ehealthid-not-primary": (403, "eHealthID not primary", "Make the eHealthID your primary identifier."),
    "not-health-professional": (403, "Not a health professional", "Only practising professionals may."),
    "not-found": (404, "Not found", "There is nothing here that you may see."),
    "method-not-allowed": (405, "Method not allowed", "This resource does not know that method."),
    "not-acceptable": (406, "Not acceptable", "The answer exists in other media types only."),
    "active-store-exists": (409, "Active store exists", "Deactivate the active store first."),
    "terms-not-accepted": (409, "Terms not accepted", "Accept the terms first."),
    "terms-outdated": (409, "Terms outdated", "Newer terms are in force; accept them."),
    "wrong-state": (409, "Wrong state", "The request's state does not allow this step."),
    "already-deactivated": (409, "Already deactivated", "The store has ended; that is final."),
    "renewal-too-early": (409, "Renewal too early", "The store cannot be renewed yet."),
    "code-expired": (410, "Code expired", "Ask for a new code."),
    "delivery-expired": (410, "Delivery expired", "The file and its password are no longer available."),
    "too-large": (413, "Too large", "The request is larger than accepted."),
    "unsupported-media-type": (415, "Unsupported media type", "Send application/json."),
    "invalid-request": (422, "Invalid request", "The request is not of the documented shape."),
    "email-invalid": (422, "E-mail address invalid", "Check the e-mail address."),
    "code-invalid": (422, "Code invalid", "The code is wrong."),
    "confirmation-missing": (422, "Confirmation missing", "Deactivation is final and must be confirmed."),
    "delivery-token-invalid": (422, "Delivery token invalid", "The delivery token does not open this."),
    "code-locked": (429, "Code locked", "Too many wrong codes; ask for a new one."),
    "too-many-requests": (429, "Too many requests", "Try again later."),
    "internal": (500, "Internal error", "Something failed here; it has been recorded."),
    "mail-unavailable": (503, "Mail unavailable", "The code could not be sent; try again."),
    "ca-unavailable": (503, "Certification authority unavailable", "Try again in a moment."),
}

_BY_STATUS: Final = {
    400: "invalid-request",
    401: "unauthenticated",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    429: "too-many-requests",
    503: "ca-unavailable",
}
_RETRY_DEFAULT: Final = {
    "too-many-requests": 5,
    "code-locked": 60,
    "mail-unavailable": 10,
    "ca-unavailable": 5,
}
_DATABASE_AWAY: Final = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.InternalError,
    sqlalchemy.exc.TimeoutError,
)
"""Locked, full, gone, read-only (PostgreSQL that lost its lead), or every connection in use: a later try may
find it otherwise."""
_CLIENT_GONE: Final = "client disconnected prematurely"
"""Litestar's word, as an internal error, for a request that never arrived whole; nobody reads the answer."""
_KEPT_HEADERS: Final = ("allow", "accept", "retry-after", "www-authenticate")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    status: int
    title: str
    detail: str
    extensions: Mapping[str, Any] = {}

    @property
    def type(self) -> str:
        return f"urn:mycert:problem:{self.code}"

    @property
    def headers(self) -> dict[str, str]:
        """By names in lower case, as ASGI has them."""
        headers = {
            "content-type": MEDIA_TYPE,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        retry_after = self.extensions.get("retry_after", _RETRY_DEFAULT.get(self.code))
        if retry_after is not None:
            headers["retry-after"] = str(max(1, int(retry_after)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def to_json(self) -> bytes:
        members = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        return msgspec.json.encode(dict(self.extensions) | members | {"code": self.code})

    def on_the_wire(self, **more: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers, ``more`` among them, and body, for code without a framework."""
        body = self.to_json()
        headers = self.headers | {"content-length": str(len(body))} | more
        return [(name.encode(), value.encode()) for name, value in headers.items()], body


def problem(code: str, *, status: int | None = None, **extensions: Any) -> Problem:
    """The document of a code of the table; an unknown code is ``internal``, for it is our mistake."""
    if code not in PROBLEMS:
        code = "internal"
    own_status, title, detail = PROBLEMS[code]
    return Problem(code=code, status=status or own_status, title=title, detail=detail, extensions=extensions)


def problem_of(error: BaseException) -> Problem:
    """Which problem an exception is: by its ``code``, by Litestar's status, or ``internal``."""
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in PROBLEMS:
        extensions = dict(getattr(error, "extensions", None) or {})
        if (retry_after := getattr(error, "retry_after", None)) is not None:
            extensions["retry_after"] = retry_after
        return problem(code, **extensions)
    if isinstance(error, _DATABASE_AWAY):
        return problem("ca-unavailable")
    if isinstance(error, HTTPException):
        if error.detail == _CLIENT_GONE:
            return problem("invalid-request", status=400)
        return problem(
            _BY_STATUS.get(error.status_code, "internal" if error.status_code >= 500 else "invalid-request")
        )
    return problem("internal")


def exception_handlers() -> dict[int | type[Exception], Any]:
    """For ``Litestar(exception_handlers=...)``: every exception becomes a problem document."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        document = problem_of(error)
        record_problem(document, error)
        own = (error.headers or {}) if isinstance(error, HTTPException) else {}
        kept = {k.lower(): v for k, v in own.items() if k.lower() in _KEPT_HEADERS}
        return Response(document.to_json(), status_code=document.status, headers=document.headers | kept)

    return {Exception: answer}


def record_problem(document: Problem, error: BaseException) -> None:
    """The log gets the cause: in full for what is our fault, one line for what is another's."""
    log = get_logger()
    cause = type(error).__name__ if isinstance(error, HTTPException) else error  # its message quotes input
    if document.status == 503:
        log.error("unavailable", problem=document.code, cause=cause, behind=error.__cause__)
    elif document.status >= 500:
        log.error("failed", problem=document.code, exc_info=error)
    else:
        log.info("refused", problem=document.code, cause=cause)


async def send_problem(send: Any, document: Problem, **more: str) -> None:
    """The same document from bare ASGI code. ``more`` are headers beside its own."""
    headers, body = document.on_the_wire(**more)
    await send({"type": "http.response.start", "status": document.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Safety:
    """ASGI middleware around an application: what escapes it is logged and becomes ``internal``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def observed(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:  # noqa: BLE001 - the last catch there is; nothing is swallowed unlogged
            document = problem_of(error)
            record_problem(document, error)
            if started:
                raise BrokenAnswer from None  # Half an answer is on its way: only closing tells the client.
            await send_problem(send, document)


class BrokenAnswer(Exception):
    """An application failed after its answer had begun; the cause has been logged."""


class RemoteProblem(Exception):
    """What another process of ours answered, raised here under the same code."""

    def __init__(self, code: str, extensions: Mapping[str, Any]) -> None:
        super().__init__(f"{code}: {PROBLEMS[code][2]}")
        self.code = code
        self.extensions = extensions


class _Received(msgspec.Struct):
    code: str
    attempts_left: int | None = None
    retry_after: int | None = None


def raise_for_problem(response: httpx.Response) -> httpx.Response:
    """Return a successful answer; raise :class:`RemoteProblem` for any other.

    An answer that is no problem document of ours means that the other side is not in working order, which
    callers see as ``ca-unavailable``.
    """
    if response.is_success:
        return response
    try:
        received = msgspec.json.decode(response.content, type=_Received)
    except msgspec.DecodeError:
        raise RemoteProblem("ca-unavailable", {}) from None
    if received.code not in PROBLEMS:
        raise RemoteProblem("ca-unavailable", {})
    extensions = {"attempts_left": received.attempts_left, "retry_after": received.retry_after}
    raise RemoteProblem(received.code, {k: v for k, v in extensions.items() if v is not None})
