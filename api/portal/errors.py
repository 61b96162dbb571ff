"""Every refusal as a page that says what to do next; codes are the contract's (api/problems.py)."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response

from api.logs import get_logger
from api.portal.desk import Desk
from api.portal.visit import go, show
from api.portal.visitors import LoginNeeded, Visitor
from api.problems import problem_of, record_problem
from policies.eligibility import GateRefused, judge

log = get_logger()

_AT_ITS_REQUEST = {
    **dict.fromkeys(("wrong-state", "terms-outdated", "terms-not-accepted", "delivery-expired"), ""),
    **{code: f"?note={code}" for code in ("code-invalid", "code-expired", "code-locked")},
    **{code: f"?note={code}" for code in ("too-many-requests", "ca-unavailable", "mail-unavailable")},
    "delivery-token-invalid": "?note=other-browser",
}
"""A form that is refused so leads to its request's page, which shows where it stands and what to do."""

_OWN = {"login-unavailable": 503, "login-refused": 400, "form-refused": 403}
_GATES = {refusal.code for refusal in GateRefused.__subclasses__()}


def refusal_page(desk: Desk, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    document = problem_of(error)
    code = str(getattr(error, "code", document.code))
    status = _OWN.get(code, document.status)
    if code in _OWN:
        log.info("refused", problem=code, cause=error)
    else:
        record_problem(document, error)
        code = document.code
    # Whoever has not been recognised by now is not asked for: this is the event loop's own thread.
    visitor: Visitor = request.scope.get("user") or Visitor(
        language=desk.visitors.language(request), place="/"
    )
    # ``GET *`` (RFC 9112 3.2.4) comes without a slash.
    parts = request.url.path.removeprefix("/").split("/")
    if isinstance(error, LoginNeeded):
        return show(desk, visitor, "login_needed.html", expired=error.expired, status=401)
    if code == "authentication-too-old":
        return show(desk, visitor, "step_up.html", status=401)
    if code in _GATES and visitor.person is not None:
        gates = desk.cases.texts.gates(visitor.language, judge(visitor.person.identity.standing))
        return show(desk, visitor, "gate.html", gates=gates, status=403)
    if parts[0] == "requests" and parts[2:3] and code in _AT_ITS_REQUEST:
        return go(f"/requests/{parts[1]}{_AT_ITS_REQUEST[code]}")
    retry = document.extensions.get("retry_after")
    return show(desk, visitor, "error.html", code=code, retry=retry, status=status)
