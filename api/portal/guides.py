"""Pages for everybody: questions and answers, accessibility, the choice of language, static files."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from api.lanes import READING
from api.portal.desk import Desk, go
from api.portal.visitors import Visitor, safe_place
from api.texts import Language
from issuer.errors import NotFound


@get("/faq")
@READING.handler
def faq(visitor: NamedDependency[Visitor], desk: NamedDependency[Desk]) -> Response[str]:
    reasons = desk.texts.reasons(visitor.language)
    return desk.page(
        visitor,
        "faq.html",
        reasons=reasons,
        services=desk.config.services,
        window_days=desk.renewal.window_days,
        contact=desk.config.contact,
    )


@get("/accessibility")
@READING.handler
def accessibility(visitor: NamedDependency[Visitor], desk: NamedDependency[Desk]) -> Response[str]:
    return desk.page(visitor, "accessibility.html", contact=desk.config.contact)


@get("/language/{tag:str}", sync_to_thread=False)
def choose(desk: NamedDependency[Desk], tag: FromPath[str], to: FromQuery[str | None] = None) -> Redirect:
    if tag not in set(Language):
        raise NotFound("no such language")
    answer = go(safe_place(to))
    answer.set_cookie(desk.cookies.language(tag))
    return answer


@get("/static/{name:str}", sync_to_thread=False)
def static(
    request: Request[Any, Any, Any], desk: NamedDependency[Desk], name: FromPath[str]
) -> Response[bytes]:
    if name not in desk.pages.static.contents:
        raise NotFound("no such file")
    content, media_type = desk.pages.static.contents[name]
    return Response(
        content=content,
        media_type=f"{media_type}; charset=utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )


HANDLERS = [faq, accessibility, choose, static]
