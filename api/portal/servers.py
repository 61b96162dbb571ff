"""What other servers ask: eSanté's kiosk for its tile, the provider to end a session it has ended itself."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency

from api.bearer import bearer_token
from api.lanes import PROVING
from api.logs import get_logger
from api.portal.desk import Desk
from api.texts import choose_language
from issuer.identity.errors import AssertionRefused
from policies.eligibility import GateCode, first_failed, judge

log = get_logger()


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    code: GateCode
    message: str


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    visible: bool
    reasons: list[Reason]
    """Each closed gate, and what to do about it; empty where the tile is visible."""
    name: str
    address: str


@get("/kiosk")
@PROVING.handler
def tile(request: Request[Any, Any, Any], desk: NamedDependency[Desk]) -> Tile:
    """Whether the kiosk shows myCert, asked with the person's own assertion (R3).

    Raises AssertionRefused, TooManyRequests.
    """
    identity = desk.verifier.verify(bearer_token(request.scope))
    desk.budget.spend(identity)
    language = choose_language(request.headers.get("accept-language"))
    gates = judge(identity.standing)
    return Tile(
        visible=first_failed(gates) is None,
        reasons=[
            Reason(code=gate.code, message=message)
            for gate, message in desk.cases.texts.gates(language, gates)
            if not gate.satisfied
        ],
        name="myCert",
        address=f"{desk.public_url}/",
    )


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


HANDLERS = [tile, ended]
