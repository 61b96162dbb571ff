"""The support's page (R31): where a person's requests and stores stand. Never a secret."""

from __future__ import annotations

from litestar import Response, get, post

from api.journey import support
from api.journey.steps import Person
from api.lanes import READING
from api.portal.visit import Here, Visit
from issuer.errors import NotFound
from issuer.identity.identity import ehealth_id
from policies.eligibility import NotLuxtrust


@get("/support")
@READING.handler
def ask(visit: Here) -> Response[str]:
    _supporter(visit)
    return visit.page("support.html", asked="", malformed=False, found=None)


@post("/support", status_code=200)
@READING.handler
def look(visit: Here) -> Response[str]:
    """By a form, so that no eHealthID stands in an address, a log or a history."""
    person, asked = _supporter(visit), visit.text("ehealth_id").strip()
    try:
        number = ehealth_id(asked)
    except ValueError:
        return visit.page("support.html", asked=asked, malformed=True, found=None, status=422)
    found = support.look(visit.cases.steps, person.identity, number)
    stores = [(visit.store(held), found.notices.get(held.store.id, ())) for held in found.stores]
    return visit.page("support.html", asked=asked, malformed=False, found=found, stores=stores)


def _supporter(visit: Visit) -> Person:
    """Raises NotFound for everybody else: that there is such a page is not their affair."""
    person = visit.person
    if not visit.visitor.support:
        raise NotFound("not of the support")
    if not person.identity.standing.luxtrust:
        raise NotLuxtrust
    return person


HANDLERS = [ask, look]
