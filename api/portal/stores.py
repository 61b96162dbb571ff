"""A store of one's own: its overview and its deactivation (R7, R19, R20)."""

from __future__ import annotations

import contextlib

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from api.lanes import ISSUING, READING
from api.portal.desk import Desk, go
from api.portal.forms import Form
from api.portal.visitors import Visitor
from api.web.schemas import store_out
from policies.errors import AlreadyDeactivated
from policies.reasons import DeactivationReason


@get("/stores/{store_id:str}")
@READING.handler
def overview(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], store_id: FromPath[str]
) -> Response[str]:
    store = store_out(desk.held_stores.find(visitor.known(), store_id), desk.clock())
    reasons = {str(code): label for code, label in desk.texts.reasons(visitor.language).items()}
    return desk.page(visitor, "overview.html", store=store, reasons=reasons)


@get("/stores/{store_id:str}/deactivation")
@READING.handler
def ask(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], store_id: FromPath[str]
) -> Response[str]:
    return _form(visitor, desk, store_id)


@post("/stores/{store_id:str}/deactivation", status_code=303)
@ISSUING.handler
def deactivate(
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    store_id: FromPath[str],
    form: NamedDependency[Form],
) -> Response[str] | Redirect:
    person, chosen = visitor.known(), form.text("reason")
    desk.verifier.require_fresh(person.identity)
    confirmed = form.text("confirm") == "yes"
    if chosen not in set(DeactivationReason) or not confirmed:
        missing = "reason" if chosen not in set(DeactivationReason) else "confirm"
        return _form(visitor, desk, store_id, chosen=chosen, confirmed=confirmed, missing=missing, status=422)
    # A double click, or another tab: it is as the person wants it.
    with contextlib.suppress(AlreadyDeactivated):
        desk.held_stores.deactivate(person, store_id, DeactivationReason(chosen), confirmed=True)
    return go("/?notice=deactivated")


def _form(
    visitor: Visitor,
    desk: Desk,
    store_id: str,
    *,
    chosen: str = "",
    confirmed: bool = False,
    missing: str | None = None,
    status: int = 200,
) -> Response[str]:
    person = visitor.known()
    desk.verifier.require_fresh(person.identity)
    store = store_out(desk.held_stores.find(person, store_id), desk.clock())
    return desk.page(
        visitor,
        "deactivation.html",
        store=store,
        reasons=desk.texts.reasons(visitor.language),
        chosen=chosen,
        confirmed=confirmed,
        missing=missing,
        status=status,
    )


HANDLERS = [overview, ask, deactivate]
