"""The web process's application: ``/api/v1``, its OpenAPI document, health, and the way to ``/pki``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from api.bearer import bearer_token
from api.health import Check, health_router
from api.journey.holdings import HeldStores
from api.journey.journey import Journey
from api.journey.steps import Person
from api.journey.verification import Verification
from api.problems import exception_handlers
from api.texts import Language, Texts, choose_language
from api.web import v1
from api.web.budget import CallBudget
from issuer.clock import Clock
from issuer.identity.assertion import AssertionVerifier

MAX_BODY = 64 * 1024

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def build_web_app(
    *,
    verifier: AssertionVerifier,
    journey: Journey,
    verification: Verification,
    held_stores: HeldStores,
    texts: Texts,
    budget: CallBudget,
    clock: Clock,
    checks: Mapping[str, Check],
    shown: Mapping[str, Any],
    more: Sequence[ControllerRouterHandler] = (),
) -> Litestar:
    """``more`` are further route handlers (portal pages); ``shown`` goes into ``/health/ready``."""

    def anyone(request: Request[object, object, State]) -> Person:
        token = bearer_token(request.scope)
        identity = verifier.verify(token)
        budget.spend(identity.ehealth_id or identity.subject)
        return Person(identity=identity, assertion=token)

    def fresh(anyone: Person) -> Person:
        verifier.require_fresh(anyone.identity)
        return anyone

    def language(request: Request[object, object, State]) -> Language:
        return choose_language(request.headers.get("accept-language"))

    def add_headers(response: Response[Any]) -> Response[Any]:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return Litestar(
        route_handlers=[v1.router(), health_router(checks, shown), *more],
        dependencies={
            "anyone": Provide(anyone, sync_to_thread=True),
            "person": Provide(_same, sync_to_thread=False),
            "fresh": Provide(fresh, sync_to_thread=False),
            "language": Provide(language, sync_to_thread=False),
            "journey": Provide(lambda: journey, sync_to_thread=False),
            "verification": Provide(lambda: verification, sync_to_thread=False),
            "held_stores": Provide(lambda: held_stores, sync_to_thread=False),
            "texts": Provide(lambda: texts, sync_to_thread=False),
            "clock": Provide(lambda: clock, sync_to_thread=False),
        },
        exception_handlers=exception_handlers(),
        after_request=add_headers,
        request_max_body_size=MAX_BODY,
        openapi_config=_openapi(),
        logging_config=None,
    )


def _same(anyone: Person) -> Person:
    """A person whose rights the use case itself checks."""
    return anyone


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="myCert",
        version="1",
        description="Certificate stores for Luxembourg's health professionals.",
        path="/schema",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        security=[{"assertion": []}],
        components=Components(
            security_schemes={"assertion": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
    )
