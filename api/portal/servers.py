"""What the provider's server asks: to end here the sessions that it has ended itself."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency

from api.lanes import PROVING
from api.logs import get_logger
from api.portal.desk import Desk
from issuer.identity.errors import AssertionRefused

log = get_logger()


@post("/login/ended", status_code=200)
async def ended(request: Request[Any, Any, Any], desk: NamedDependency[Desk]) -> Response[None]:
    """OpenID Connect Back-Channel Logout 1.0, proven by the provider's signature, not by a cookie.

    A token that is none answers 400 (2.8).
    """
    token = (await request.form()).get("logout_token")
    try:
        sessions = await PROVING.run(_end, desk, token if isinstance(token, str) else "")
    except AssertionRefused as refusal:
        log.info("refused", problem="logout-token", cause=refusal)
        return Response(None, status_code=400)
    log.info("provider-logout", sessions=sessions)
    return Response(None)


def _end(desk: Desk, token: str) -> int:
    """How many sessions there were. Raises AssertionRefused."""
    return desk.sessions.close_of_provider(desk.verifier.ended_session(token))


HANDLERS = [ended]
