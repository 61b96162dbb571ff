"""Hand an accepted request to the issuer, and answer to what it says (R13, R14)."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from api.internal.client import IssuerSilent, IssuerUnreachable
from api.journey import records
from api.journey.records import JourneyRequest
from api.journey.steps import Person, Steps
from api.journey.tables import requests
from api.problems import RemoteProblem
from issuer.faults import FaultPoint, fault_point
from issuer.issuance.order import Order
from policies.eligibility import GATE_REFUSALS
from policies.errors import WrongState
from policies.lifecycle import RequestEvent, RequestState

_NOTHING_BEGUN = {"ca-unavailable", "too-many-requests", "unauthenticated", "authentication-too-old"}
"""The issuer's refusals after which the same code may be tried again while it lives."""


def order_store(
    steps: Steps,
    person: Person,
    request: JourneyRequest,
    *,
    repeated: bool = False,
    answerable: bool = True,
) -> JourneyRequest:
    """Hand the accepted request to the issuer, which proves everything again by itself.

    A repeated order changes nothing where it is refused: the first one may be under way.
    Where the issuer is silent and the caller brought no token to repeat the call with
    (``answerable`` is false), the token made here is lost with the answer: what may have
    begun is abandoned, for nobody could ever open it.
    """
    if request.generating_at is None or request.terms_accepted_at is None:
        raise WrongState("not accepted")
    order = Order(
        request_id=request.id,
        email=request.email or "",
        language=request.language or "",
        keystore_profile="legacy" if request.keystore_profile == "legacy" else "modern",
        recipient=request.recipient or b"",
        terms_version=request.terms_version or "",
        terms_sha256=request.terms_sha256 or "",
        terms_language=request.terms_language or "",
        terms_accepted_at=request.terms_accepted_at,
        accepted_at=request.generating_at,
        renews=request.renews,
    )
    try:
        ordered = steps.issuer.order(person.assertion, order)
    except IssuerSilent:
        if not answerable:
            # Where the issuer stays silent the request stays, to be cancelled.
            steps.end(person, request, RequestEvent.FAIL, actor="service")
        raise
    except (IssuerUnreachable, RemoteProblem) as refusal:
        if not repeated:
            _withdraw(steps, person, request, refusal)
        raise
    fault_point(FaultPoint.STORE_ORDERED)
    try:
        with steps.database.write() as connection:
            connection.execute(
                requests.update().where(requests.c.id == request.id).values(store_id=ordered.store_id)
            )
            latest = records.find(connection, request.id, request.ehealth_id)
    except SQLAlchemyError:
        if not answerable:
            steps.abandon(person, request)  # As above: nobody could open it.
        raise
    if latest.state not in (RequestState.GENERATING, RequestState.READY, RequestState.DELIVERED):
        # It ended, or was taken back, between our transition and the order: nobody waits for this store.
        steps.abandon(person, request)
    return latest


def _withdraw(
    steps: Steps, person: Person, request: JourneyRequest, refusal: IssuerUnreachable | RemoteProblem
) -> None:
    """What the issuer refused goes back, or ends; where it is not known, the registry will say."""
    values: dict[str, Any] = {}
    if refusal.code in _NOTHING_BEGUN:
        event = RequestEvent.DEFER
        values = {"attempts_left": requests.c.attempts_left + 1, "deadline": None, "recipient": None}
        if isinstance(refusal, IssuerUnreachable):
            values["generating_at"] = None  # Else its end still asks the issuer, to be on the safe side.
    elif refusal.code in GATE_REFUSALS:
        event = RequestEvent.REJECT
    elif refusal.code != "internal":
        event = RequestEvent.FAIL
    else:
        return
    same_order = requests.c.generating_at == request.generating_at
    begun = event is RequestEvent.FAIL
    steps.end(person, request, event, same_order, begun=begun, actor="service", **values)
