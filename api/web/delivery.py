"""``/api/v1`` from the code to the file: verification, password, keystore, completion (docs/delivery.md)."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from api.journey.steps import Person
from api.journey.tokens import base64url
from api.lanes import ISSUING
from api.web.negotiation import PKCS12, SEALED
from api.web.openapi import FRESH, GATES, STEP, may
from api.web.parameters import Caller, Cases, Id, KeyHeader, TokenHeader
from api.web.schemas import PasswordOut, RequestOut, VerificationIn, VerificationOut, request_out

_DELIVERY: Final = ("delivery-expired", "delivery-token-invalid")


@post(
    "/requests/{request_id:str}/verification",
    status_code=HTTP_202_ACCEPTED,
    opt=may(
        *FRESH,
        *GATES,
        *STEP,
        *("terms-outdated", "terms-not-accepted", "active-store-exists"),
        *("code-expired", "code-invalid", "code-locked", "delivery-token-invalid"),
    ),
)
@ISSUING.handler
def verify(
    fresh: Caller,
    request_id: Id,
    data: JSONBody[VerificationIn],
    cases: Cases,
    delivery_token: TokenHeader = None,
    delivery_key: KeyHeader = None,
) -> VerificationOut:
    """The code that was mailed: the store is made from then on. Repeatable with one's own token or key."""
    accepted = cases.verification.verify(fresh, request_id, data.code, delivery_token, delivery_key)
    token = None if accepted.token is None else base64url(accepted.token)
    return VerificationOut(request=request_out(accepted.request), delivery_token=token)


@post("/requests/{request_id:str}/password", status_code=HTTP_200_OK, opt=may(*GATES, *STEP, *_DELIVERY))
@ISSUING.handler
def password(
    person: Caller,
    request_id: Id,
    cases: Cases,
    delivery_token: TokenHeader = None,
    delivery_key: KeyHeader = None,
) -> PasswordOut:
    """The PKCS#12 file's password."""
    secret = cases.journey.fetch(person, request_id, "password", delivery_token, delivery_key)
    if delivery_key is not None:
        return PasswordOut(sealed=base64url(secret))
    return PasswordOut(password=secret.decode("ascii"))


@get("/requests/{request_id:str}/keystore", media_type=PKCS12, opt=may(*GATES, *STEP, *_DELIVERY))
@ISSUING.handler
def keystore(
    person: Caller,
    request_id: Id,
    cases: Cases,
    delivery_token: TokenHeader = None,
    delivery_key: KeyHeader = None,
) -> Response[bytes]:
    """The PKCS#12 file."""
    content = cases.journey.fetch(person, request_id, "keystore", delivery_token, delivery_key)
    if delivery_key is not None:
        return Response(content=content, media_type=SEALED)
    return keystore_file(person, content)


def keystore_file(person: Person, content: bytes) -> Response[bytes]:
    return Response(
        content=content,
        media_type=PKCS12,
        headers={"Content-Disposition": f'attachment; filename="myCert-{person.ehealth_id}.p12"'},
    )


@post(
    "/requests/{request_id:str}/completion",
    status_code=HTTP_200_OK,
    opt=may(*GATES, *STEP, "delivery-expired"),
)
@ISSUING.handler
def complete(person: Caller, request_id: Id, cases: Cases) -> RequestOut:
    """Both parts are safe with their holder: the sealed material goes."""
    return request_out(cases.journey.complete(person, request_id))
