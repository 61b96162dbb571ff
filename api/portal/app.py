"""The portal's routes, for the web process's application."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router
from litestar.di import Provide
from litestar.types import ExceptionHandler

from api.portal import guides, home, login, requests, servers, stores, support
from api.portal.desk import Desk
from api.portal.errors import Refusal
from api.portal.guard import check_form
from api.portal.visit import Visit, begin_visit
from api.problems import exception_handlers
from api.web.headers import FOR_PROGRAMS


def not_found_pages(desk: Desk) -> dict[int | type[Exception], ExceptionHandler[Any]]:
    """For paths that nobody serves: a page for people, the problem document for programs."""
    otherwise = exception_handlers()[Exception]

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        for_programs = request.url.path.startswith(FOR_PROGRAMS)
        if for_programs or "text/html" not in request.headers.get("accept", ""):
            return otherwise(request, error)  # type: ignore[no-any-return]
        return Refusal(desk, request, error)

    return {404: answer, 405: answer}


def portal_routers(desk: Desk) -> list[Router]:
    """The pages, and what the provider asks: refused by problem documents, for no person reads them."""
    provided = Provide(lambda: desk, sync_to_thread=False)

    async def before(request: Request[Any, Any, Any]) -> None:
        if request.method == "POST":
            await check_form(request, desk.cookies, desk.public_url)

    def refuse(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        return Refusal(desk, request, error)

    async def visit(request: Request[Any, Any, Any]) -> Visit:
        return await begin_visit(request, desk)

    parts = (home, login, requests, stores, support, guides)
    pages = Router(
        "/",
        route_handlers=[handler for part in parts for handler in part.HANDLERS],
        dependencies={"desk": provided, "visit": Provide(visit)},
        before_request=before,
        exception_handlers={Exception: refuse},
        include_in_schema=False,
    )
    asked = Router(
        "/", route_handlers=servers.HANDLERS, dependencies={"desk": provided}, include_in_schema=False
    )
    return [pages, asked]
