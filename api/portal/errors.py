"""Every refusal as a page that says what to do next; codes are the contract's (api/problems.py)."""

from __future__ import annotations

import contextlib
from typing import Any

from litestar import Request, Response
from litestar.types import Receive, Send

from api.logs import get_logger
from api.portal.desk import Desk
from api.portal.visit import LoginNeeded, Visitor, go, recognise, show
from api.problems import problem_of, record_problem
from issuer.identity.errors import ProviderKeysUnavailable
from policies.eligibility import GATE_REFUSALS, judge

log = get_logger()

_AT_ITS_REQUEST = {
    **dict.fromkeys(("wrong-state", "terms-outdated", "terms-not-accepted", "delivery-expired"), ""),
    **{code: f"?note={code}" for code in ("code-invalid", "code-expired", "code-locked")},
    **{code: f"?note={code}" for code in ("too-many-requests", "ca-unavailable", "mail-unavailable")},
    "delivery-token-invalid": "?note=other-browser",
}
"""A form that is refused so leads to its request's page, which shows where it stands and what to do."""

_OWN = {"login-unavailable": 503, "login-refused": 400, "form-refused": 403}


class Refusal(Response[None]):
    """What an exception handler returns. It is called on the event loop's own thread, where nobody may be
    recognised; who looks at a page that no visit led to is asked for when this is sent."""

    def __init__(self, desk: Desk, request: Request[Any, Any, Any], error: Exception) -> None:
        super().__init__(content=None)
        self._desk = desk
        self._request = request
        self._error = error

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._answer

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope.get("user") is None:
            # The page says what was refused first, whatever else is away.
            with contextlib.suppress(Exception):
                await recognise(self._request, self._desk)
        page = refusal_page(self._desk, self._request, self._error, scope["user"])
        await page.to_asgi_response(None, self._request)(scope, receive, send)


def refusal_page(
    desk: Desk, request: Request[Any, Any, Any], error: Exception, visitor: Visitor
) -> Response[Any]:
    document = problem_of(error)
    code = str(getattr(error, "code", document.code))
    if isinstance(error, ProviderKeysUnavailable):
        code = "login-unavailable"  # The provider's trouble, and not who asks.
    status = _OWN.get(code, document.status)
    if code in _OWN:
        log.info("refused", problem=code, cause=error)
    else:
        record_problem(document, error)
        code = document.code
    # ``GET *`` (RFC 9112 3.2.4) comes without a slash.
    parts = request.url.path.removeprefix("/").split("/")
    if isinstance(error, LoginNeeded):
        return show(desk, visitor, "login_needed.html", expired=error.expired, status=401)
    if code == "authentication-too-old":
        return show(desk, visitor, "step_up.html", status=401)
    if code in GATE_REFUSALS and visitor.person is not None:
        gates = desk.cases.texts.gates(visitor.language, judge(visitor.person.identity.standing))
        return show(desk, visitor, "gate.html", gates=gates, status=403)
    if parts[0] == "requests" and parts[2:3] and code in _AT_ITS_REQUEST:
        return go(f"/requests/{parts[1]}{_AT_ITS_REQUEST[code]}")
    retry = document.extensions.get("retry_after")
    return show(desk, visitor, "error.html", code=code, retry=retry, status=status)
