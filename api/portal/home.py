"""The first page: what a person holds, what is under way, what they may do next (R6, R7)."""

from __future__ import annotations

from datetime import datetime

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect

from api.journey.holdings import HeldStore
from api.journey.steps import Person
from api.lanes import ISSUING, READING
from api.portal.desk import Desk, go
from api.portal.forms import Form
from api.portal.visitors import Visitor
from api.web.schemas import store_out
from policies.eligibility import GateRefused, judge
from policies.errors import PolicyRefusal
from policies.lifecycle import StoreStatus

_NOTICES = frozenset({"deactivated", "cancelled", "delivered", "renewed"})


@get("/")
@READING.handler
def home(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], notice: FromQuery[str | None] = None
) -> Response[str]:
    if visitor.person is None:
        return desk.page(visitor, "landing.html")
    person = visitor.person
    gates = judge(person.identity.standing)
    held = _held(desk, person)
    now = desk.clock()
    stores = [store_out(one, now) for one in held]
    running = [store for store in stores if store.status in (StoreStatus.ACTIVE, StoreStatus.RETIRING)]
    eligible = all(gate.satisfied for gate in gates)
    return desk.page(
        visitor,
        "home.html",
        gates=[
            (gate, desk.texts.gate(visitor.language, gate.code, satisfied=gate.satisfied)) for gate in gates
        ],
        eligible=eligible,
        current=desk.journey.current(person) if eligible else None,
        running=running,
        history=[
            store for store in stores if store not in running and store.status is not StoreStatus.ISSUING
        ],
        reasons={str(code): label for code, label in desk.texts.reasons(visitor.language).items()},
        renewable=[store.id for store in running if _renewable(desk, store.status, store.not_after)],
        start_key=desk.random(16).hex(),
        notice=notice if notice in _NOTICES else None,
    )


@post("/requests", status_code=303)
@ISSUING.handler
def start(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], form: NamedDependency[Form]
) -> Redirect:
    """Goes on with a request under way; starting over is asked for in words (R14)."""
    person = visitor.known()
    current = desk.journey.current(person)
    if current is None or form.text("restart") == "yes":
        key = form.key("start_key")
        if current is not None and current.renews is not None:
            current = desk.journey.renew(person, current.renews, key)
        else:
            current = desk.journey.start(person, key)
    return go(f"/requests/{current.id}")


def _renewable(desk: Desk, status: StoreStatus, not_after: datetime | None) -> bool:
    try:
        desk.renewal.check(desk.clock(), status, not_after)
    except PolicyRefusal:
        return False
    return True


def _held(desk: Desk, person: Person) -> list[HeldStore]:
    """Who may not look at stores of their own sees why, and no stores."""
    try:
        return desk.held_stores.all_of(person)
    except GateRefused:
        return []
