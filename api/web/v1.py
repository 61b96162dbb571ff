"""``/api/v1``: the use cases of the journey as HTTP. No decision is taken here."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, delete, get, post, put
from litestar.params import Parameter
from litestar.status_codes import (
    HTTP_200_OK,
    HTTP_201_CREATED,
    HTTP_202_ACCEPTED,
    HTTP_204_NO_CONTENT,
)

from api.journey.holdings import HeldStores
from api.journey.journey import Journey
from api.journey.steps import Person
from api.journey.tokens import format_delivery_token
from api.journey.verification import Verification
from api.texts import Language, Texts
from api.web.schemas import (
    DeactivationIn,
    EligibilityOut,
    EmailIn,
    GateOut,
    PasswordOut,
    ReasonOut,
    ReasonsOut,
    RequestOut,
    SectionOut,
    StartIn,
    StoreOut,
    StoresOut,
    TermsIn,
    TermsOut,
    VerificationIn,
    VerificationOut,
    request_out,
    store_out,
)
from issuer.clock import Clock
from issuer.errors import NotFound
from policies.eligibility import first_failed, judge

TokenHeader = Annotated[
    str | None,
    Parameter(
        header="Delivery-Token",
        description="base64url of 32 random bytes of the caller's own",
        required=False,
    ),
]
IdempotencyKey = Annotated[
    str | None, Parameter(header="Idempotency-Key", required=False, min_length=1, max_length=128)
]


@get("/eligibility", sync_to_thread=False)
def eligibility(anyone: Person, language: Language, texts: Texts) -> EligibilityOut:
    """Whether the portal's kiosk shows myCert, and what to do where it does not (R3)."""
    gates = judge(anyone.identity.standing)
    return EligibilityOut(
        eligible=first_failed(gates) is None,
        gates=[
            GateOut(
                code=gate.code,
                satisfied=gate.satisfied,
                message=texts.gate(language, gate.code, satisfied=gate.satisfied),
            )
            for gate in gates
        ],
    )


@get("/terms", sync_to_thread=False)
def terms(anyone: Person, language: Language, texts: Texts) -> TermsOut:
    found = texts.terms(language)
    return TermsOut(
        version=found.version,
        language=found.language,
        sections=[SectionOut(title=section.title, body=section.body) for section in found.sections],
    )


@get("/deactivation-reasons", sync_to_thread=False)
def deactivation_reasons(anyone: Person, language: Language, texts: Texts) -> ReasonsOut:
    return ReasonsOut(
        items=[ReasonOut(code=code, label=label) for code, label in texts.reasons(language).items()]
    )


@get("/stores", sync_to_thread=True)
def list_stores(person: Person, held_stores: HeldStores, clock: Clock) -> StoresOut:
    now = clock()
    return StoresOut(items=[store_out(held, now) for held in held_stores.all_of(person)])


@get("/stores/{store_id:str}", sync_to_thread=True)
def show_store(person: Person, store_id: str, held_stores: HeldStores, clock: Clock) -> StoreOut:
    return store_out(held_stores.find(person, store_id), clock())


@post("/stores/{store_id:str}/deactivation", status_code=HTTP_200_OK, sync_to_thread=True)
def deactivate(
    fresh: Person, store_id: str, data: DeactivationIn, held_stores: HeldStores, clock: Clock
) -> StoreOut:
    held = held_stores.deactivate(fresh, store_id, data.reason, confirmed=data.confirm)
    return store_out(held, clock())


@post("/requests", status_code=HTTP_201_CREATED, sync_to_thread=True)
def start(
    person: Person, journey: Journey, data: StartIn | None = None, idempotency_key: IdempotencyKey = None
) -> RequestOut:
    return request_out(journey.start(person, idempotency_key))


@get("/requests/current", sync_to_thread=True)
def current(person: Person, journey: Journey) -> RequestOut:
    found = journey.current(person)
    if found is None:
        raise NotFound("no unfinished request")
    return request_out(found)


@get("/requests/{request_id:str}", sync_to_thread=True)
def show_request(person: Person, request_id: str, journey: Journey) -> RequestOut:
    return request_out(journey.find(person, request_id))


@delete("/requests/{request_id:str}", status_code=HTTP_204_NO_CONTENT, sync_to_thread=True)
def cancel(person: Person, request_id: str, journey: Journey) -> None:
    journey.cancel(person, request_id)


@put("/requests/{request_id:str}/terms", sync_to_thread=True)
def accept_terms(
    person: Person, request_id: str, data: TermsIn, language: Language, journey: Journey
) -> RequestOut:
    return request_out(journey.accept_terms(person, request_id, data.version, language))


@put("/requests/{request_id:str}/email", sync_to_thread=True)
def set_email(
    person: Person, request_id: str, data: EmailIn, language: Language, verification: Verification
) -> RequestOut:
    return request_out(
        verification.set_email(person, request_id, data.email, data.keystore_profile, language)
    )


@post("/requests/{request_id:str}/code", status_code=HTTP_200_OK, sync_to_thread=True)
def resend_code(person: Person, request_id: str, verification: Verification) -> RequestOut:
    return request_out(verification.resend(person, request_id))


@post("/requests/{request_id:str}/verification", status_code=HTTP_202_ACCEPTED, sync_to_thread=True)
def verify(
    fresh: Person,
    request_id: str,
    data: VerificationIn,
    verification: Verification,
    delivery_token: TokenHeader = None,
) -> VerificationOut:
    accepted = verification.verify(fresh, request_id, data.code, delivery_token)
    return VerificationOut(
        request=request_out(accepted.request), delivery_token=format_delivery_token(accepted.token)
    )


@post("/requests/{request_id:str}/password", status_code=HTTP_200_OK, sync_to_thread=True)
def password(
    person: Person, request_id: str, journey: Journey, delivery_token: TokenHeader = None
) -> PasswordOut:
    secret = journey.fetch(person, request_id, "password", delivery_token)
    return PasswordOut(password=secret.decode("ascii"))


@get("/requests/{request_id:str}/keystore", sync_to_thread=True, media_type="application/x-pkcs12")
def keystore(
    person: Person, request_id: str, journey: Journey, delivery_token: TokenHeader = None
) -> Response[bytes]:
    content = journey.fetch(person, request_id, "keystore", delivery_token)
    return Response(
        content=content,
        media_type="application/x-pkcs12",
        headers={"Content-Disposition": f'attachment; filename="myCert-{person.ehealth_id}.p12"'},
    )


@post("/requests/{request_id:str}/completion", status_code=HTTP_200_OK, sync_to_thread=True)
def complete(person: Person, request_id: str, journey: Journey) -> RequestOut:
    return request_out(journey.complete(person, request_id))


def router() -> Router:
    return Router(
        "/api/v1",
        route_handlers=[
            eligibility,
            terms,
            deactivation_reasons,
            list_stores,
            show_store,
            deactivate,
            start,
            current,
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
