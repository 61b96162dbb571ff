"""A log-out at the provider ends the session here too (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, post
from litestar.di import NamedDependency, Provide

from api.lanes import PROVING
from api.logs import get_logger
from api.portal.desk import Desk
from issuer.identity.errors import AssertionRefused

log = get_logger()


@post("/login/ended", status_code=200)
async def ended(request: Request[Any, Any, Any], desk: NamedDependency[Desk]) -> Response[None]:
    """Proven by the provider's signature, not by a cookie; a token that is none answers 400 (2.8)."""
    headers = {"Cache-Control": "no-store"}
    token = (await request.form()).get("logout_token")
    try:
        sessions = await PROVING.run(_end, desk, token if isinstance(token, str) else "")
    except AssertionRefused as refusal:
        log.info("refused", problem="logout-token", cause=refusal)
        return Response(None, status_code=400, headers=headers)
    log.info("provider-logout", sessions=sessions)
    return Response(None, headers=headers)


def _end(desk: Desk, token: str) -> int:
    """How many sessions there were. Raises AssertionRefused."""
    return desk.sessions.close_of_provider(desk.verifier.ended_session(token))


def backchannel_router(desk: Desk) -> Router:
    return Router(
        "/",
        route_handlers=[ended],
        dependencies={"desk": Provide(lambda: desk, sync_to_thread=False)},
        include_in_schema=False,
    )
