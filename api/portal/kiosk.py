"""Whether eSanté's kiosk shows myCert's tile, asked with the person's own assertion (R3)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Router, get
from litestar.di import NamedDependency, Provide

from api.bearer import bearer_token
from api.lanes import PROVING
from api.portal.desk import Desk
from api.texts import choose_language
from policies.eligibility import GateCode, first_failed, judge


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    code: GateCode
    message: str


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    visible: bool
    reasons: list[Reason]
    """Each closed gate, and what to do about it; empty where the tile is visible."""
    name: str
    address: str


@get("/kiosk", include_in_schema=False)
@PROVING.handler
def tile(request: Request[Any, Any, Any], desk: NamedDependency[Desk]) -> Tile:
    """Raises AssertionRefused; answers problem documents, for it is another server that asks."""
    identity = desk.verifier.verify(bearer_token(request.scope))
    language = choose_language(request.headers.get("accept-language"))
    gates = judge(identity.standing)
    return Tile(
        visible=first_failed(gates) is None,
        reasons=[
            Reason(code=gate.code, message=desk.texts.gate(language, gate.code, satisfied=False))
            for gate in gates
            if not gate.satisfied
        ],
        name="myCert",
        address=f"{desk.public_url}/",
    )


def kiosk_router(desk: Desk) -> Router:
    return Router(
        "/",
        route_handlers=[tile],
        dependencies={"desk": Provide(lambda: desk, sync_to_thread=False)},
    )
