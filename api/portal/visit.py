"""Who looks at which page, in which language, what their form says, and the desk that serves them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.response import Redirect
from markupsafe import Markup

from api.ids import check_ids
from api.journey.holdings import HeldStore
from api.journey.steps import Person
from api.journey.use_cases import UseCases
from api.lanes import PROVING
from api.portal.desk import Desk
from api.portal.guard import FORM_FIELD
from api.portal.sessions import form_token, parse_cookie
from api.texts import Language, choose_language
from api.web.schemas import StoreOut, store_out
from issuer.identity.errors import AssertionRefused, ProviderKeysUnavailable

_LONGEST = 1024
_PLACE = re.compile(r"/(?!/)[A-Za-z0-9/_-]*")
Answer = Response[Any] | Redirect


class FormInvalid(Exception):
    """Not what our own pages send."""

    code = "invalid-request"


class LoginNeeded(Exception):
    """Nobody is logged in here, or not any more."""

    code = "unauthenticated"

    def __init__(self, *, expired: bool) -> None:
        super().__init__("the session has ended" if expired else "no session")
        self.expired = expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A language always, a session and a proven person where there is one."""

    language: Language
    place: str
    """Where this page is, for coming back after a log-in or a change of language."""
    person: Person | None = None
    support: bool = False
    form_token: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One look at one page."""

    desk: Desk
    request: Request[Any, Any, Any]
    visitor: Visitor
    form: Mapping[str, str] = field(repr=False)

    @property
    def cases(self) -> UseCases:
        return self.desk.cases

    @property
    def person(self) -> Person:
        """Raises LoginNeeded."""
        if self.visitor.person is None:
            raise LoginNeeded(expired=self.visitor.expired)
        return self.visitor.person

    @property
    def fresh(self) -> Person:
        """Raises AuthenticationTooOld besides."""
        self.desk.verifier.require_fresh(self.person.identity)
        return self.person

    def text(self, name: str) -> str:
        """A field of the form; empty where it is missing."""
        return self.form.get(name, "")

    @property
    def start_key(self) -> str | None:
        """What makes a repeated click the same request; anything of another shape is left out."""
        value = self.text("start_key")
        return value if value.isascii() and value.isalnum() and len(value) <= 64 else None

    @property
    def delivery_token(self) -> str | None:
        return self.desk.cookies.read(self.request, "delivery")

    def store(self, held: HeldStore) -> StoreOut:
        return store_out(held, self.cases.clock())

    def own_store(self, store_id: str) -> StoreOut:
        """Raises NotFound."""
        return self.store(self.cases.held_stores.find(self.person, store_id))

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response[str]:
        return show(self.desk, self.visitor, template, status=status, **context)


Here = NamedDependency[Visit]


def language_of(request: Request[Any, Any, Any], desk: Desk) -> Language:
    """Chosen on the page, else what the browser prefers."""
    chosen = desk.cookies.read(request, "language")
    if chosen in set(Language):
        return Language(chosen)
    return choose_language(request.headers.get("accept-language"))


async def recognise(request: Request[Any, Any, Any], desk: Desk) -> Visitor:
    """Raises TooManyRequests, ProviderKeysUnavailable, Overloaded. Kept for the refusal's page, too."""
    request.scope["user"] = Visitor(language=language_of(request, desk), place="/")
    visitor = await PROVING.run(visitor_of, request, desk)
    request.scope["user"] = visitor
    if visitor.person is not None:
        desk.budget.spend(visitor.person.identity)
    return visitor


def visitor_of(request: Request[Any, Any, Any], desk: Desk) -> Visitor:
    """Raises ProviderKeysUnavailable. The assertion is proven anew on each page."""
    language, place = language_of(request, desk), _place(request)
    value = desk.cookies.read(request, "session")
    cookie = parse_cookie(value)
    assertion = None if cookie is None else desk.sessions.find(cookie)
    if cookie is None or assertion is None:
        return Visitor(language=language, place=place, expired=bool(value))
    try:
        identity = desk.verifier.verify(assertion)
    except ProviderKeysUnavailable:
        raise
    except AssertionRefused:
        return Visitor(language=language, place=place, expired=True)
    return Visitor(
        language=language,
        place=place,
        person=Person(identity=identity, assertion=assertion),
        support=desk.verifier.is_support(identity),
        form_token=form_token(cookie),
    )


def _place(request: Request[Any, Any, Any]) -> str:
    """Parts of a request have no page of their own; the request's page shows where it stands."""
    path = request.url.path
    parts = path.split("/")
    if parts[1] == "requests":
        return safe_place("/".join(parts[:3]) if parts[2:3] else "/")
    return safe_place(path) if request.method == "GET" or parts[1] == "stores" else "/"


def safe_place(place: str | None) -> str:
    """A path of ours and nothing else, whatever an address asks to be led on to."""
    return place if place is not None and _PLACE.fullmatch(place) else "/"


async def begin_visit(request: Request[Any, Any, Any], desk: Desk) -> Visit:
    """Raises NotFound for a path without an id of ours where one belongs; FormInvalid for files, fields
    that stand twice, and texts that no field of ours can hold."""
    check_ids(request)
    visitor = await recognise(request, desk)
    form: dict[str, str] = {}
    if request.method == "POST":
        for name, value in (await request.form()).multi_items():
            if not isinstance(value, str) or name in form or len(value) > _LONGEST:
                raise FormInvalid("a field of another shape")
            form[name] = value
    return Visit(desk=desk, request=request, visitor=visitor, form=form)


def show(desk: Desk, visitor: Visitor, template: str, *, status: int = 200, **context: Any) -> Response[str]:
    def form_token() -> Markup:
        return Markup('<input type="hidden" name="{}" value="{}">').format(FORM_FIELD, visitor.form_token)

    shown = {
        "visitor": visitor,
        "form_token": form_token,
        "reasons": desk.cases.texts.reasons(visitor.language),
        "start_key": desk.random(16).hex(),
        **context,
    }
    return desk.pages.render(template, visitor.language, shown, status)


def go(place: str) -> Redirect:
    """After a form, so that a reload repeats nothing (RFC 9110 15.4.4)."""
    return Redirect(place, status_code=303)
