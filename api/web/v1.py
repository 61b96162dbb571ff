"""``/api/v1``: the use cases of the journey as HTTP. No decision is taken here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from litestar import HttpMethod, Response, Router, delete, get, post, put, route
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT
from litestar.types import Guard

from api.journey.records import JourneyRequest
from api.lanes import ISSUING, MAILING, READING
from api.texts import Language
from api.web.delivery import complete, keystore, password, verify
from api.web.openapi import FRESH, GATES, STEP, may
from api.web.parameters import Caller, Cases, Id, IdempotencyKey, Prefer
from api.web.schemas import (
    DeactivationIn,
    EligibilityOut,
    EmailIn,
    GateOut,
    ReasonOut,
    ReasonsOut,
    RequestOut,
    StartIn,
    StoreOut,
    StoresOut,
    TermsIn,
    TermsOut,
    request_out,
    store_out,
)
from api.web.waiting import Settlements, preferred_wait
from issuer.errors import NotFound
from policies.eligibility import first_failed, judge
from policies.lifecycle import RequestState

_OWNER: Final = ("not-luxtrust", "ehealthid-not-primary")
_CODE: Final = ("wrong-state", "terms-not-accepted", "terms-outdated", "mail-unavailable")


@get("/eligibility", sync_to_thread=False, opt=may())
def eligibility(person: Caller, language: NamedDependency[Language], cases: Cases) -> EligibilityOut:
    """Whether the portal's kiosk shows myCert, and what to do where it does not (R3)."""
    gates = judge(person.identity.standing)
    return EligibilityOut(
        eligible=first_failed(gates) is None,
        gates=[
            GateOut(code=gate.code, satisfied=gate.satisfied, message=message)
            for gate, message in cases.texts.gates(language, gates)
        ],
    )


@get("/terms", sync_to_thread=False, opt=may())
def terms(person: Caller, language: NamedDependency[Language], cases: Cases) -> TermsOut:
    """The terms in force, in the best language for Accept-Language."""
    found = cases.texts.terms(language)
    return TermsOut(version=found.version, language=language, sections=found.sections)


@get("/deactivation-reasons", sync_to_thread=False, opt=may())
def deactivation_reasons(person: Caller, language: NamedDependency[Language], cases: Cases) -> ReasonsOut:
    """What a holder can choose from, in the best language for Accept-Language."""
    return ReasonsOut(
        items=[ReasonOut(code=code, label=label) for code, label in cases.texts.reasons(language).items()]
    )


@get("/stores", opt=may(*_OWNER))
@READING.handler
def list_stores(person: Caller, cases: Cases) -> StoresOut:
    """One's own stores, newest first."""
    now = cases.clock()
    return StoresOut(items=[store_out(held, now) for held in cases.held_stores.all_of(person)])


@get("/stores/{store_id:str}", opt=may(*_OWNER))
@READING.handler
def show_store(person: Caller, store_id: Id, cases: Cases) -> StoreOut:
    """One of one's own stores."""
    return store_out(cases.held_stores.find(person, store_id), cases.clock())


@post(
    "/stores/{store_id:str}/deactivation",
    status_code=HTTP_200_OK,
    opt=may(*FRESH, *_OWNER, "already-deactivated", "confirmation-missing", "ca-unavailable"),
)
@ISSUING.handler
def deactivate(fresh: Caller, store_id: Id, data: JSONBody[DeactivationIn], cases: Cases) -> StoreOut:
    """End a store for good."""
    held = cases.held_stores.deactivate(fresh, store_id, data.reason, confirmed=data.confirm)
    return store_out(held, cases.clock())


@post(
    "/stores/{store_id:str}/renewal",
    status_code=HTTP_201_CREATED,
    opt=may(
        *GATES,
        *("already-deactivated", "renewal-too-early", "active-store-exists", "wrong-state", "ca-unavailable"),
    ),
)
@ISSUING.handler
def renew(
    person: Caller,
    store_id: Id,
    cases: Cases,
    data: JSONBody[StartIn | None] = None,
    idempotency_key: IdempotencyKey = None,
) -> RequestOut:
    """Ask for the successor of an active store, which makes way when that is active."""
    return request_out(cases.journey.renew(person, store_id, idempotency_key))


@post("/requests", status_code=HTTP_201_CREATED, opt=may(*GATES, "active-store-exists", "ca-unavailable"))
@ISSUING.handler
def start(
    person: Caller,
    cases: Cases,
    data: JSONBody[StartIn | None] = None,
    idempotency_key: IdempotencyKey = None,
) -> RequestOut:
    """Ask for a store. Starts over: an unfinished request is superseded, a store it had begun revoked."""
    return request_out(cases.journey.start(person, idempotency_key))


@get("/requests/current", opt=may(*GATES, "not-found"))
async def current(
    person: Caller, cases: Cases, settlements: NamedDependency[Settlements], prefer: Prefer = None
) -> Response[RequestOut]:
    """The unfinished request, if there is one."""

    def look() -> JourneyRequest:
        found = cases.journey.current(person)
        if found is None:
            raise NotFound("no unfinished request")
        return found

    return await _patiently(look, settlements, prefer)


@route(
    "/requests/{request_id:str}",
    http_method=[HttpMethod.OPTIONS],
    status_code=HTTP_204_NO_CONTENT,
    include_in_schema=False,
    sync_to_thread=False,
)
def methods_of_request() -> Response[None]:
    """The framework's own answer names only the method that was registered first."""
    return Response(None, headers={"Allow": "DELETE, GET, OPTIONS"})


@get("/requests/{request_id:str}", opt=may(*GATES))
async def show_request(
    person: Caller,
    request_id: Id,
    cases: Cases,
    settlements: NamedDependency[Settlements],
    prefer: Prefer = None,
) -> Response[RequestOut]:
    """One of one's own requests."""
    return await _patiently(lambda: cases.journey.find(person, request_id), settlements, prefer)


@delete("/requests/{request_id:str}", status_code=HTTP_204_NO_CONTENT, opt=may(*GATES, *STEP))
@ISSUING.handler
def cancel(person: Caller, request_id: Id, cases: Cases) -> None:
    """End an unfinished request; a store it had begun is revoked."""
    cases.journey.cancel(person, request_id)


@put("/requests/{request_id:str}/terms", opt=may(*GATES, "wrong-state", "terms-outdated"))
@READING.handler
def accept_terms(
    person: Caller, request_id: Id, data: JSONBody[TermsIn], language: NamedDependency[Language], cases: Cases
) -> RequestOut:
    """Accept the terms of this version."""
    return request_out(cases.journey.accept_terms(person, request_id, data.version, language))


@put("/requests/{request_id:str}/email", opt=may(*GATES, *_CODE, "email-invalid"))
@MAILING.handler
def set_email(
    person: Caller, request_id: Id, data: JSONBody[EmailIn], language: NamedDependency[Language], cases: Cases
) -> RequestOut:
    """Confirm the data shown, name an address, and have a code sent to it."""
    return request_out(
        cases.verification.set_email(person, request_id, data.email, data.keystore_profile, language)
    )


@post("/requests/{request_id:str}/code", status_code=HTTP_200_OK, opt=may(*GATES, *_CODE))
@MAILING.handler
def resend_code(person: Caller, request_id: Id, cases: Cases) -> RequestOut:
    """Send a new code to the same address; the one before is worthless from then on."""
    return request_out(cases.verification.resend(person, request_id))


async def _patiently(
    look: Callable[[], JourneyRequest], settlements: Settlements, prefer: str | None
) -> Response[RequestOut]:
    """The request as it stands, or as it stands once its store is made, where the caller prefers to wait."""
    seconds = preferred_wait(prefer)
    found = await READING.run(look)
    waited = seconds is not None
    if seconds and found.state is RequestState.GENERATING:
        waited = await settlements.wait(found.id, seconds)
        if waited:
            found = await READING.run(look)
    headers = {"Preference-Applied": f"wait={seconds}"} if waited else {}
    return Response(request_out(found), headers=headers)


def router(guards: Sequence[Guard]) -> Router:
    return Router(
        "/api/v1",
        guards=guards,
        route_handlers=[
            eligibility,
            terms,
            deactivation_reasons,
            list_stores,
            show_store,
            deactivate,
            renew,
            start,
            current,
            methods_of_request,
            show_request,
            cancel,
            accept_terms,
            set_email,
            resend_code,
            verify,
            password,
            keystore,
            complete,
        ],
    )
