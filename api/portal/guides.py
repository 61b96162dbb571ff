"""Pages for everybody: questions and answers, accessibility, the choice of language, static files."""

from __future__ import annotations

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from api.lanes import READING
from api.portal.desk import Desk
from api.portal.visit import Here, go, safe_place
from api.texts import Language
from issuer.errors import NotFound


@get("/faq")
@READING.handler
def faq(visit: Here) -> Response[str]:
    config, days = visit.desk.config, visit.desk.renewal.window_days
    return visit.page("faq.html", services=config.services, contact=config.contact, window_days=days)


@get("/accessibility")
@READING.handler
def accessibility(visit: Here) -> Response[str]:
    return visit.page("accessibility.html", contact=visit.desk.config.contact)


@get("/language/{tag:str}", sync_to_thread=False)
def choose(desk: NamedDependency[Desk], tag: FromPath[str], to: FromQuery[str | None] = None) -> Redirect:
    if tag not in set(Language):
        raise NotFound("no such language")
    answer = go(safe_place(to))
    answer.set_cookie(desk.cookies.language(tag))
    return answer


@get("/static/{name:str}", sync_to_thread=False)
def static(desk: NamedDependency[Desk], name: FromPath[str]) -> Response[bytes]:
    if name not in desk.pages.static.contents:
        raise NotFound("no such file")
    content, media_type = desk.pages.static.contents[name]
    return Response(
        content=content,
        media_type=media_type,
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )


HANDLERS = [faq, accessibility, choose, static]
