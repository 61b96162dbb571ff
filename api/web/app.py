"""The web process's application: ``/api/v1``, its OpenAPI document, health, and the way to ``/pki``."""

from __future__ import annotations

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide

from api.journey.steps import Person
from api.journey.use_cases import UseCases
from api.portal.app import not_found_pages, portal_routers
from api.portal.desk import Desk
from api.problems import exception_handlers
from api.texts import Language, choose_language
from api.web import v1
from api.web.budget import CallBudget
from api.web.guards import guards
from api.web.openapi import openapi_config
from api.web.waiting import Settlements
from issuer.identity.assertion import AssertionVerifier

MAX_BODY = 64 * 1024


def build_web_app(
    *,
    verifier: AssertionVerifier,
    cases: UseCases,
    settlements: Settlements,
    budget: CallBudget,
    health: Router,
    desk: Desk | None = None,
) -> Litestar:
    """Without a ``desk`` there are no pages."""

    def person(request: Request[Person, object, State]) -> Person:
        return request.user  # Set by the first guard.

    def fresh(person: NamedDependency[Person]) -> Person:
        verifier.require_fresh(person.identity)
        return person

    def language(request: Request[object, object, State]) -> Language:
        return choose_language(request.headers.get("accept-language"))

    return Litestar(
        route_handlers=[
            v1.router(guards(verifier, budget)),
            health,
            *(portal_routers(desk) if desk else ()),
        ],
        dependencies={
            "person": Provide(person, sync_to_thread=False),
            "fresh": Provide(fresh, sync_to_thread=False),
            "language": Provide(language, sync_to_thread=False),
            "cases": Provide(lambda: cases, sync_to_thread=False),
            "settlements": Provide(lambda: settlements, sync_to_thread=False),
        },
        exception_handlers=exception_handlers() | (not_found_pages(desk) if desk else {}),
        request_max_body_size=MAX_BODY,
        openapi_config=openapi_config(),
        logging_config=None,
    )
