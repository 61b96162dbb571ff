"""Every refusal as a page that says what to do next; codes are the contract's (api/problems.py)."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response
from litestar.response import Redirect

from api.logs import get_logger
from api.portal.desk import Desk, go
from api.portal.visitors import LoginNeeded, Visitor
from api.problems import problem_of, record_problem
from policies.eligibility import GateRefused, judge

log = get_logger()

_AT_ITS_REQUEST = frozenset(
    {"code-invalid", "code-expired", "code-locked", "too-many-requests", "ca-unavailable", "mail-unavailable"}
)
"""Said on the request's own page, beside what can be done about it."""

_OWN = {"login-unavailable": 503, "login-refused": 400, "form-refused": 403}


class ErrorPages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def answer(self, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        desk, language = self._desk, self._desk.visitors.language(request)
        document = problem_of(error)
        code = str(getattr(error, "code", document.code))
        status = _OWN.get(code, document.status)
        if code in _OWN:
            log.info("refused", problem=code, cause=error)
        else:
            record_problem(document, error)
        # Whoever has not been recognised by now is not asked for: this is the event loop's own thread.
        visitor = request.scope.get("user") or Visitor(language=language, place="/")
        if isinstance(error, LoginNeeded):
            return desk.page(visitor, "login_needed.html", expired=error.expired, status=401)
        if code == "authentication-too-old":
            return desk.page(visitor, "step_up.html", status=401)
        if isinstance(error, GateRefused) or code in {gate.refusal.code for gate in _all_gates(visitor)}:
            return self._gate(visitor, code)
        if (elsewhere := _elsewhere(request, code)) is not None:
            return elsewhere
        known = code if code in _OWN else document.code
        retry = document.extensions.get("retry_after")
        return desk.page(visitor, "error.html", code=known, retry=retry, status=status)

    def _gate(self, visitor: Visitor, code: str) -> Response[Any]:
        texts = self._desk.texts
        gates = _all_gates(visitor)
        return self._desk.page(
            visitor,
            "gate.html",
            gates=[(g, texts.gate(visitor.language, g.code, satisfied=g.satisfied)) for g in gates],
            status=403,
        )


def _all_gates(visitor: Visitor) -> tuple[Any, ...]:
    return () if visitor.person is None else judge(visitor.person.identity.standing)


def _elsewhere(request: Request[Any, Any, Any], code: str) -> Redirect | None:
    """A form of a request whose state has moved on leads to where it stands now."""
    parts = request.url.path.split("/")
    if parts[1] != "requests" or not parts[3:4]:
        return None
    if code in ("wrong-state", "terms-outdated", "terms-not-accepted", "delivery-expired"):
        return go(f"/requests/{parts[2]}")
    if code == "delivery-token-invalid":
        return go(f"/requests/{parts[2]}?note=other-browser")
    if code in _AT_ITS_REQUEST:
        return go(f"/requests/{parts[2]}?note={code}")
    return None
