"""One look at one page: who looks, what their form says, and the desk that serves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.response import Redirect
from markupsafe import Markup

from api.journey.holdings import HeldStore
from api.journey.steps import Person
from api.journey.use_cases import UseCases
from api.lanes import PROVING
from api.portal.desk import Desk
from api.portal.guard import FORM_FIELD
from api.portal.visitors import Visitor
from api.web.schemas import StoreOut, store_out

_LONGEST = 1024
Answer = Response[Any] | Redirect


class FormInvalid(Exception):
    """Not what our own pages send."""

    code = "invalid-request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
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
        return self.visitor.known()

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


async def recognise(request: Request[Any, Any, Any], desk: Desk) -> Visitor:
    """Raises TooManyRequests, ProviderKeysUnavailable, Overloaded. Kept for the refusal's page, too."""
    request.scope["user"] = Visitor(language=desk.visitors.language(request), place="/")
    visitor: Visitor = await PROVING.run(desk.visitors.recognise, request)
    request.scope["user"] = visitor
    if visitor.person is not None:
        desk.budget.spend(visitor.person.identity)
    return visitor


async def begin_visit(request: Request[Any, Any, Any], desk: Desk) -> Visit:
    """Raises FormInvalid for files, fields that stand twice, and texts that no field of ours can hold."""
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
