"""The portal's routes, for the web process's application."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router
from litestar.di import Provide
from litestar.types import ExceptionHandler

from api.lanes import PROVING
from api.portal import guides, home, login, renewal, requests, stores, support
from api.portal.desk import Desk
from api.portal.errors import ErrorPages
from api.portal.forms import Form, read_form
from api.portal.guard import add_headers, check_form
from api.portal.visitors import Visitor
from api.problems import exception_handlers


def not_found_pages(desk: Desk) -> ExceptionHandler[Any]:
    """For paths that nobody serves: a page for people, the problem document for programs."""
    errors, otherwise = ErrorPages(desk), exception_handlers()[Exception]

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        for_programs = request.url.path.startswith(("/api/", "/pki/", "/schema/", "/health/"))
        if for_programs or "text/html" not in request.headers.get("accept", ""):
            return otherwise(request, error)  # type: ignore[no-any-return]
        return _finish(desk, errors.answer(request, error))

    return answer


def _finish(desk: Desk, response: Response[Any]) -> Response[Any]:
    return add_headers(response, provider_origin=desk.provider.origin, secure=desk.cookies.secure)


def portal_router(desk: Desk) -> Router:
    async def before(request: Request[Any, Any, Any]) -> None:
        if request.method == "POST":
            await check_form(request, desk.cookies, desk.public_url)

    def finish(response: Response[Any]) -> Response[Any]:
        return _finish(desk, response)

    errors = ErrorPages(desk)

    def refuse(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        return finish(errors.answer(request, error))

    async def visitor(request: Request[Any, Any, Any]) -> Visitor:
        found: Visitor = await PROVING.run(desk.visitors.recognise, request)
        request.scope["user"] = found
        return found

    async def form(request: Request[Any, Any, Any]) -> Form:
        return await read_form(request)

    return Router(
        "/",
        route_handlers=[
            home.home,
            home.start,
            login.login,
            login.callback,
            login.logout,
            *requests.HANDLERS,
            *stores.HANDLERS,
            *renewal.HANDLERS,
            *support.HANDLERS,
            *guides.HANDLERS,
        ],
        dependencies={
            "desk": Provide(lambda: desk, sync_to_thread=False),
            "visitor": Provide(visitor),
            "form": Provide(form),
        },
        before_request=before,
        after_request=finish,
        exception_handlers={Exception: refuse},
        include_in_schema=False,
    )
