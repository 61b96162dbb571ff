"""The first page: what a person holds, what is under way, what they may do next (R6, R7)."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from api.journey.holdings import HeldStore
from api.journey.records import JourneyRequest
from api.lanes import ISSUING, READING
from api.portal.visit import Here, Visit, go
from api.web.schemas import StoreOut
from policies.eligibility import GateRefused, judge
from policies.errors import AlreadyDeactivated, PolicyRefusal, WrongState
from policies.lifecycle import StoreStatus

_NOTICES = frozenset({"deactivated", "cancelled", "delivered"})
_RUNNING = (StoreStatus.ACTIVE, StoreStatus.RETIRING)


@get("/")
@READING.handler
def home(visit: Here, notice: FromQuery[str | None] = None) -> Response[str]:
    if visit.visitor.person is None:
        return visit.page("landing.html")
    desk, gates = visit.desk, judge(visit.person.identity.standing)
    eligible = all(gate.satisfied for gate in gates)
    stores = [visit.store(one) for one in _held(visit)]
    return visit.page(
        "home.html",
        gates=desk.cases.texts.gates(visit.visitor.language, gates),
        eligible=eligible,
        current=desk.cases.journey.current(visit.person) if eligible else None,
        running=[store for store in stores if store.status in _RUNNING],
        history=[store for store in stores if store.status not in (*_RUNNING, StoreStatus.ISSUING)],
        renewable=[store.id for store in stores if _renewable(visit, store)],
        notice=notice if notice in _NOTICES else None,
    )


@post("/requests", status_code=303)
@ISSUING.handler
def start(visit: Here) -> Redirect:
    """Goes on with a request under way; starting over is asked for in words (R14)."""
    person, journey = visit.person, visit.cases.journey
    current = journey.current(person)
    if current is None or visit.text("restart") == "yes":
        current = _renewed(visit, current) or journey.start(person, visit.start_key)
    return go(f"/requests/{current.id}")


def _renewed(visit: Visit, current: JourneyRequest | None) -> JourneyRequest | None:
    """Anew, where what is under way renews a store that has not made way, or ended, meanwhile."""
    if current is None or current.renews is None:
        return None
    try:
        return visit.cases.journey.renew(visit.person, current.renews, visit.start_key)
    except (AlreadyDeactivated, WrongState):
        return None


def _renewable(visit: Visit, store: StoreOut) -> bool:
    try:
        visit.desk.renewal.check(visit.cases.clock(), store.status, store.not_after)
    except PolicyRefusal:
        return False
    return True


def _held(visit: Visit) -> list[HeldStore]:
    """Who may not look at stores of their own sees why, and no stores."""
    try:
        return visit.cases.held_stores.all_of(visit.person)
    except GateRefused:
        return []


HANDLERS = [home, start]
