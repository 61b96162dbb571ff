"""The issuer's door for web: issue, collect, complete, abandon, deactivate, and nothing else.

Web is not believed: each call carries the person's own assertion, which is verified here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Litestar, Request, Router, post
from litestar.datastructures import State
from litestar.di import Provide
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT

from api.bearer import bearer_token
from api.health import Check, health_router
from api.internal.wire import (
    CollectMessage,
    DeactivateMessage,
    OrderMessage,
    SealedMessage,
    StoreMessage,
)
from api.problems import exception_handlers
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.identity import Identity
from issuer.issuance.holding import Holdings
from issuer.issuance.issuing import Issuance, Order
from policies.terms import AcceptedTerms

_MAX_BODY = 64 * 1024


@post("/orders", status_code=HTTP_202_ACCEPTED, sync_to_thread=True)
def order(data: OrderMessage, fresh: Identity, issuance: Issuance) -> StoreMessage:
    store = issuance.order(
        fresh,
        Order(
            request_id=data.request_id,
            email=data.email,
            language=data.language,
            keystore_profile=data.keystore_profile,
            recipient=data.recipient,
            terms=AcceptedTerms(
                version=data.terms_version, language=data.terms_language, sha256=data.terms_sha256
            ),
            terms_accepted_at=data.terms_accepted_at,
            accepted_at=data.accepted_at,
        ),
    )
    return StoreMessage(store_id=store.id, status=store.status)


@post("/orders/{request_id:str}/parts", status_code=HTTP_200_OK, sync_to_thread=True)
def collect(request_id: str, data: CollectMessage, identity: Identity, holdings: Holdings) -> SealedMessage:
    sealed = holdings.collect(identity, request_id, data.part, data.recipient)
    return SealedMessage(store_id=sealed.store_id, ciphertext=sealed.ciphertext)


@post("/orders/{request_id:str}/completion", status_code=HTTP_200_OK, sync_to_thread=True)
def complete(request_id: str, identity: Identity, holdings: Holdings) -> StoreMessage:
    store = holdings.complete(identity, request_id)
    return StoreMessage(store_id=store.id, status=store.status)


@post("/orders/{request_id:str}/abandonment", status_code=HTTP_204_NO_CONTENT, sync_to_thread=True)
def abandon(request_id: str, identity: Identity, holdings: Holdings) -> None:
    holdings.abandon(identity, request_id)


@post("/stores/{store_id:str}/deactivation", status_code=HTTP_200_OK, sync_to_thread=True)
def deactivate(store_id: str, data: DeactivateMessage, fresh: Identity, holdings: Holdings) -> StoreMessage:
    store = holdings.deactivate(fresh, store_id, data.reason)
    return StoreMessage(store_id=store.id, status=store.status)


def build_issuer_app(
    *,
    verifier: AssertionVerifier,
    issuance: Issuance,
    holdings: Holdings,
    checks: Mapping[str, Check],
    shown: Mapping[str, Any],
) -> Litestar:
    """The application behind ``run/issuer-web.sock``."""

    def proven(request: Request[object, object, State]) -> Identity:
        return verifier.verify(bearer_token(request.scope))

    def fresh(identity: Identity) -> Identity:
        verifier.require_fresh(identity)
        return identity

    return Litestar(
        route_handlers=[
            Router("/", route_handlers=[order, collect, complete, abandon, deactivate]),
            health_router(checks, shown),
        ],
        dependencies={
            "identity": Provide(proven, sync_to_thread=True),
            "fresh": Provide(fresh, sync_to_thread=False),
            "issuance": Provide(lambda: issuance, sync_to_thread=False),
            "holdings": Provide(lambda: holdings, sync_to_thread=False),
        },
        exception_handlers=exception_handlers(),
        request_max_body_size=_MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )
