"""A store of one's own: overview, deactivation, and renewal by its successor (R7, R19, R20, R22)."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api.lanes import ISSUING, READING
from api.portal.visit import Answer, Here, Visit, go
from api.problems import RemoteProblem
from policies.errors import AlreadyDeactivated
from policies.reasons import DeactivationReason


@get("/stores/{store_id:str}")
@READING.handler
def overview(visit: Here, store_id: FromPath[str]) -> Response[str]:
    return visit.page("overview.html", store=visit.own_store(store_id))


@get("/stores/{store_id:str}/deactivation")
@READING.handler
def ask(visit: Here, store_id: FromPath[str]) -> Response[str]:
    return _form(visit, store_id)


@post("/stores/{store_id:str}/deactivation", status_code=303)
@ISSUING.handler
def deactivate(visit: Here, store_id: FromPath[str]) -> Answer:
    person, chosen = visit.fresh, visit.text("reason")
    confirmed = visit.text("confirm") == "yes"
    if chosen not in set(DeactivationReason):
        return _form(visit, store_id, confirmed=confirmed, missing="reason", status=422)
    if not confirmed:
        return _form(visit, store_id, chosen=chosen, missing="confirm", status=422)
    try:
        visit.cases.held_stores.deactivate(person, store_id, DeactivationReason(chosen), confirmed=True)
    except RemoteProblem as refusal:
        # A double click, or another tab: it is as the person wants it.
        if refusal.code != AlreadyDeactivated.code:
            raise
    return go("/?notice=deactivated")


def _form(
    visit: Visit,
    store_id: str,
    *,
    chosen: str = "",
    confirmed: bool = False,
    missing: str | None = None,
    status: int = 200,
) -> Response[str]:
    _ = visit.fresh
    return visit.page(
        "deactivation.html",
        store=visit.own_store(store_id),
        chosen=chosen,
        confirmed=confirmed,
        missing=missing,
        status=status,
    )


@get("/stores/{store_id:str}/renewal")
@READING.handler
def explain(visit: Here, store_id: FromPath[str]) -> Response[str]:
    """What will happen, and what to have at hand. Raises RenewalTooEarly and AlreadyDeactivated."""
    store, rules = visit.own_store(store_id), visit.desk.renewal
    rules.check(visit.cases.clock(), store.status, store.not_after)
    return visit.page("renewal.html", store=store, overlap_days=rules.overlap_days)


@post("/stores/{store_id:str}/renewal", status_code=303)
@ISSUING.handler
def renew(visit: Here, store_id: FromPath[str]) -> Redirect:
    """Goes on with a renewal under way; it is given up on its own pages alone."""
    journey = visit.cases.journey
    request = journey.current(visit.person)
    if request is None or request.renews != store_id:
        request = journey.renew(visit.person, store_id, visit.start_key)
    return go(f"/requests/{request.id}")


HANDLERS = [overview, ask, deactivate, explain, renew]
