"""The issuer's door for web: issue, collect, complete, abandon, deactivate, and nothing else.

Web is not believed: each call carries the person's own assertion, which is verified here, before the body is
looked at. Nor can it use up the threads that publisher and officers need: its calls have a lane of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Litestar, Request, Router, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT

from api.bearer import bearer_token
from api.health import Check, health_router
from api.ids import Connection, check_ids
from api.internal.wire import CollectMessage, DeactivateMessage, StoreMessage
from api.lanes import Lane
from api.problems import exception_handlers
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.identity import Identity
from issuer.issuance.holding import Holdings
from issuer.issuance.issuing import Issuance
from issuer.issuance.order import Order, Sealed

_MAX_BODY = 64 * 1024
# Together less patient than web (IssuerClient), which shall hear that nothing was begun.
_LANE = Lane("web-door", threads=24, patience=3.0)
_PROOF = Lane("proof", threads=8, patience=3.0)


@post("/orders", status_code=HTTP_202_ACCEPTED)
@_LANE.handler
def order(
    data: JSONBody[Order], fresh: NamedDependency[Identity], issuance: NamedDependency[Issuance]
) -> StoreMessage:
    return StoreMessage(store_id=issuance.order(fresh, data).id)


@post("/orders/{request_id:str}/parts", status_code=HTTP_200_OK)
@_LANE.handler
def collect(
    request_id: FromPath[str],
    data: JSONBody[CollectMessage],
    identity: NamedDependency[Identity],
    holdings: NamedDependency[Holdings],
) -> Sealed:
    return holdings.collect(identity, request_id, data.part, data.recipient)


@post("/orders/{request_id:str}/completion", status_code=HTTP_204_NO_CONTENT)
@_LANE.handler
def complete(
    request_id: FromPath[str], identity: NamedDependency[Identity], holdings: NamedDependency[Holdings]
) -> None:
    holdings.complete(identity, request_id)


@post("/orders/{request_id:str}/abandonment", status_code=HTTP_204_NO_CONTENT)
@_LANE.handler
def abandon(
    request_id: FromPath[str], identity: NamedDependency[Identity], holdings: NamedDependency[Holdings]
) -> None:
    holdings.abandon(identity, request_id)


@post("/stores/{store_id:str}/deactivation", status_code=HTTP_204_NO_CONTENT)
@_LANE.handler
def deactivate(
    store_id: FromPath[str],
    data: JSONBody[DeactivateMessage],
    fresh: NamedDependency[Identity],
    holdings: NamedDependency[Holdings],
) -> None:
    holdings.deactivate(fresh, store_id, data.reason)


def build_issuer_app(
    *,
    verifier: AssertionVerifier,
    issuance: Issuance,
    holdings: Holdings,
    checks: Mapping[str, Check],
    shown: Mapping[str, Any],
) -> Litestar:
    """The application behind ``run/issuer-web.sock``."""

    async def prove(connection: Connection, _handler: BaseRouteHandler) -> None:
        if connection.scope.get("method") != "OPTIONS":
            token = bearer_token(connection.scope)
            connection.scope["user"] = await _PROOF.run(verifier.verify, token)
        check_ids(connection)

    def proven(request: Request[Identity, object, State]) -> Identity:
        return request.user

    def fresh(identity: NamedDependency[Identity]) -> Identity:
        verifier.require_fresh(identity)
        return identity

    return Litestar(
        route_handlers=[
            Router(
                "/",
                guards=[prove],
                route_handlers=[order, collect, complete, abandon, deactivate],
            ),
            health_router(checks, shown),
        ],
        dependencies={
            "identity": Provide(proven, sync_to_thread=False),
            "fresh": Provide(fresh, sync_to_thread=False),
            "issuance": Provide(lambda: issuance, sync_to_thread=False),
            "holdings": Provide(lambda: holdings, sync_to_thread=False),
        },
        exception_handlers=exception_handlers(),
        request_max_body_size=_MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )
