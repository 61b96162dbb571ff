"""Hand an accepted request to the issuer, and answer to what it says (R13, R14)."""

from __future__ import annotations

from typing import Any

import structlog

from api.internal.client import IssuerUnreachable
from api.internal.wire import OrderMessage
from api.journey import records
from api.journey.records import JourneyRequest
from api.journey.steps import Person, Steps
from api.journey.tables import requests
from api.problems import RemoteProblem
from policies.eligibility import GateRefused
from policies.errors import WrongState
from policies.lifecycle import RequestEvent

log = structlog.get_logger(__name__)

_NOTHING_BEGUN = {"ca-unavailable", "too-many-requests", "unauthenticated", "authentication-too-old"}
"""The issuer's refusals after which the same code may be tried again while it lives."""

_GATES = {refusal.code for refusal in GateRefused.__subclasses__()}


def order_store(steps: Steps, person: Person, request: JourneyRequest) -> JourneyRequest:
    """Hand the accepted request to the issuer, which proves everything again by itself."""
    if request.generating_at is None or request.terms_accepted_at is None:
        raise WrongState("not accepted")
    message = OrderMessage(
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
    )
    try:
        ordered = steps.issuer.order(person.assertion, message)
    except IssuerUnreachable:
        _withdraw(steps, request, RequestEvent.DEFER, attempts_left=requests.c.attempts_left + 1)
        raise
    except RemoteProblem as refusal:
        if refusal.code in _NOTHING_BEGUN:
            _withdraw(steps, request, RequestEvent.DEFER, attempts_left=requests.c.attempts_left + 1)
        elif refusal.code in _GATES:
            _withdraw(steps, request, RequestEvent.REJECT)
        elif refusal.code != "internal":
            _withdraw(steps, request, RequestEvent.FAIL)
        raise
    with steps.database.write() as connection:
        connection.execute(
            requests.update().where(requests.c.id == request.id).values(store_id=ordered.store_id)
        )
        latest = records.find(connection, request.id, request.ehealth_id)
    if not latest.unfinished:
        # Cancelled between our transition and the order: nobody waits for this store.
        steps.issuer.abandon(person.assertion, request.id)
    return latest


def _withdraw(steps: Steps, request: JourneyRequest, event: RequestEvent, **values: Any) -> None:
    try:
        with steps.database.write() as connection:
            records.move(
                connection,
                request,
                event,
                steps.clock(),
                generating_at=None,
                deadline=None,
                recipient=None,
                **values,
            )
    except WrongState:
        log.info("request-changed-meanwhile", request=request.id)
