"""The support's page (R31): where a person's requests and stores stand. Never a secret."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.di import NamedDependency

from api.journey.steps import Person
from api.lanes import READING
from api.portal.desk import Desk
from api.portal.forms import Form
from api.portal.visitors import Visitor
from api.web.schemas import store_out
from issuer.errors import NotFound
from issuer.identity.identity import ehealth_id
from policies.eligibility import NotLuxtrust


@get("/support")
@READING.handler
def ask(visitor: NamedDependency[Visitor], desk: NamedDependency[Desk]) -> Response[str]:
    _supporter(visitor)
    return desk.page(visitor, "support.html", asked="", malformed=False, found=None)


@post("/support", status_code=200)
@READING.handler
def look(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], form: NamedDependency[Form]
) -> Response[str]:
    """By a form, so that no eHealthID stands in an address, a log or a history."""
    person, asked = _supporter(visitor), form.text("ehealth_id").strip()
    try:
        number = ehealth_id(asked)
    except ValueError:
        return desk.page(visitor, "support.html", asked=asked, malformed=True, found=None, status=422)
    found = desk.support.look(person.identity, number)
    now = desk.clock()
    return desk.page(
        visitor,
        "support.html",
        asked=asked,
        malformed=False,
        found=found,
        stores=[(store_out(held, now), found.notices.get(held.store.id, ())) for held in found.stores],
        reasons={str(code): label for code, label in desk.texts.reasons(visitor.language).items()},
    )


def _supporter(visitor: Visitor) -> Person:
    """Raises NotFound for everybody else: that there is such a page is not their affair."""
    person = visitor.known()
    if not visitor.support:
        raise NotFound("not of the support")
    if not person.identity.standing.luxtrust:
        raise NotLuxtrust
    return person


HANDLERS = [ask, look]
