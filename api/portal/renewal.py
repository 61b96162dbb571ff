"""Renewal: from the active store to its successor, guided (R22)."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from api.lanes import ISSUING, READING
from api.portal.desk import Desk, go
from api.portal.forms import Form
from api.portal.visitors import Visitor
from api.web.schemas import store_out


@get("/stores/{store_id:str}/renewal")
@READING.handler
def explain(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], store_id: FromPath[str]
) -> Response[str]:
    """What will happen, and what to have at hand. Raises RenewalTooEarly and AlreadyDeactivated."""
    held = desk.held_stores.find(visitor.known(), store_id)
    now = desk.clock()
    desk.renewal.check(now, held.store.status, held.store.not_after)
    return desk.page(
        visitor,
        "renewal.html",
        store=store_out(held, now),
        overlap_days=desk.renewal.overlap_days,
        start_key=desk.random(16).hex(),
    )


@post("/stores/{store_id:str}/renewal", status_code=303)
@ISSUING.handler
def renew(
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    store_id: FromPath[str],
    form: NamedDependency[Form],
) -> Redirect:
    """Goes on with a renewal under way; it is given up on its own pages alone."""
    person = visitor.known()
    request = desk.journey.current(person)
    if request is None or request.renews != store_id:
        request = desk.journey.renew(person, store_id, form.key("start_key"))
    return go(f"/requests/{request.id}")


HANDLERS = [explain, renew]
