"""A request's one page. What it shows follows from the request's state alone, so that reload, back and
a second tab are all the same (R14); each form leads back to it."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from api.journey.records import JourneyRequest
from api.journey.tokens import DELIVERY_TOKEN_BYTES, format_delivery_token
from api.lanes import ISSUING, MAILING, READING
from api.portal.desk import Desk, go
from api.portal.forms import Form
from api.portal.visitors import Visitor
from policies.errors import CodeMalformed, PolicyRefusal
from policies.lifecycle import BEFORE_GENERATION, RequestState
from policies.terms import check_accepted

_SHOWN_HERE = frozenset(
    {
        "code-invalid", "code-expired", "code-locked", "too-many-requests", "mail-unavailable",
        "ca-unavailable", "code-resent", "terms-unread", "other-browser", "cookies-needed",
    }
)  # fmt: skip
"""Messages that an address may ask this page to show; each is a fixed text."""

Answer = Response[Any] | Redirect


@get("/requests/{request_id:str}")
@READING.handler
def show(
    request: Request[Any, Any, Any],
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
    note: FromQuery[str | None] = None,
) -> Answer:
    person = visitor.known()
    found = desk.journey.find(person, request_id)
    note = note if note in _SHOWN_HERE else None
    if found.state in BEFORE_GENERATION and not _accepted(desk, found):
        terms = desk.texts.terms(visitor.language)
        return desk.page(visitor, "terms.html", request=found, terms=terms, note=note)
    match found.state:
        case RequestState.TERMS_ACCEPTED:
            return _data(visitor, desk, found)
        case RequestState.CODE_SENT:
            desk.verifier.require_fresh(person.identity)
            answer = desk.page(
                visitor,
                "code.html",
                request=found,
                note=note,
                now=desk.clock(),
                minutes=desk.code_lifetime // 60,
            )
            if desk.cookies.read(request, "delivery") is None:
                # The browser's own, before the verification: a lost answer can then be asked for again.
                token = format_delivery_token(desk.random(DELIVERY_TOKEN_BYTES))
                answer.set_cookie(desk.cookies.delivery(token, found.id))
            return answer
        case RequestState.GENERATING:
            return desk.page(visitor, "generation.html", request=found, now=desk.clock())
        case RequestState.READY:
            return _delivery(visitor, desk, found, note=note)
        case RequestState.DELIVERED:
            return go("/")
        case _:
            return desk.page(visitor, "ended.html", request=found, status=410)


@get("/requests/{request_id:str}/progress")
@READING.handler
def progress(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], request_id: FromPath[str]
) -> dict[str, str]:
    return {"state": desk.journey.find(visitor.known(), request_id).state}


@post("/requests/{request_id:str}/terms", status_code=303)
@READING.handler
def accept_terms(
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
    form: NamedDependency[Form],
) -> Answer:
    if form.text("accepted") != "yes":
        return go(f"/requests/{request_id}?note=terms-unread")
    desk.journey.accept_terms(visitor.known(), request_id, form.text("version"), visitor.language)
    return go(f"/requests/{request_id}")


@get("/requests/{request_id:str}/email")
@READING.handler
def change_email(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], request_id: FromPath[str]
) -> Answer:
    found = desk.journey.find(visitor.known(), request_id)
    if found.state is not RequestState.CODE_SENT or not _accepted(desk, found):
        return go(f"/requests/{request_id}")
    return _data(visitor, desk, found)


@post("/requests/{request_id:str}/email", status_code=303)
@MAILING.handler
def set_email(
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
    form: NamedDependency[Form],
) -> Answer:
    person, email = visitor.known(), form.text("email").strip()
    profile = "legacy" if form.text("keystore_profile") == "legacy" else "modern"
    try:
        desk.verification.set_email(person, request_id, email, profile, visitor.language)
    except Exception as error:
        code = getattr(error, "code", None)
        if code not in ("email-invalid", "mail-unavailable", "too-many-requests"):
            raise
        found = desk.journey.find(person, request_id)
        return _data(visitor, desk, found, email=email, profile=profile, note=code, status=422)
    return go(f"/requests/{request_id}")


@post("/requests/{request_id:str}/code", status_code=303)
@MAILING.handler
def resend(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], request_id: FromPath[str]
) -> Answer:
    desk.verification.resend(visitor.known(), request_id)
    return go(f"/requests/{request_id}?note=code-resent")


@post("/requests/{request_id:str}/verification", status_code=303)
@ISSUING.handler
def verify(
    request: Request[Any, Any, Any],
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
    form: NamedDependency[Form],
) -> Answer:
    person, token = visitor.known(), desk.cookies.read(request, "delivery")
    desk.verifier.require_fresh(person.identity)
    if token is None:
        return go(f"/requests/{request_id}?note=cookies-needed")
    code = "".join(form.text("code").split())
    try:
        desk.verification.verify(person, request_id, code, token)
    except CodeMalformed:
        return go(f"/requests/{request_id}?note=code-invalid")
    return go(f"/requests/{request_id}")


@get("/requests/{request_id:str}/password")
@ISSUING.handler
def password(
    request: Request[Any, Any, Any],
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
) -> Answer:
    """The same page with the password in it, so that a reload still shows it."""
    person = visitor.known()
    secret = desk.journey.fetch(person, request_id, "password", desk.cookies.read(request, "delivery"))
    found = desk.journey.find(person, request_id)
    return _delivery(visitor, desk, found, password=secret.decode("ascii"))


@get("/requests/{request_id:str}/keystore")
@ISSUING.handler
def keystore(
    request: Request[Any, Any, Any],
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
) -> Response[bytes]:
    person = visitor.known()
    content = desk.journey.fetch(person, request_id, "keystore", desk.cookies.read(request, "delivery"))
    return Response(
        content=content,
        media_type="application/x-pkcs12",
        headers={"Content-Disposition": f'attachment; filename="myCert-{person.ehealth_id}.p12"'},
    )


@post("/requests/{request_id:str}/completion", status_code=303)
@ISSUING.handler
def complete(
    visitor: NamedDependency[Visitor],
    desk: NamedDependency[Desk],
    request_id: FromPath[str],
    form: NamedDependency[Form],
) -> Answer:
    """Asks once more where a part was not fetched yet: what is left behind here is gone for good."""
    person = visitor.known()
    found = desk.journey.find(person, request_id)
    waiting = found.state is RequestState.READY and form.text("incomplete") != "yes"
    if waiting and not _fetched(visitor, desk, found):
        return desk.page(visitor, "incomplete.html", request=found)
    desk.journey.complete(person, request_id)
    return go("/?notice=delivered")


@post("/requests/{request_id:str}/cancellation", status_code=303)
@ISSUING.handler
def cancel(
    visitor: NamedDependency[Visitor], desk: NamedDependency[Desk], request_id: FromPath[str]
) -> Answer:
    desk.journey.cancel(visitor.known(), request_id)
    return go("/?notice=cancelled")


def _accepted(desk: Desk, found: JourneyRequest) -> bool:
    try:
        check_accepted(found.terms_version, desk.texts.terms_version)
    except PolicyRefusal:
        return False
    return True


def _data(
    visitor: Visitor,
    desk: Desk,
    found: JourneyRequest,
    *,
    email: str | None = None,
    profile: str | None = None,
    note: str | None = None,
    status: int = 200,
) -> Response[str]:
    person = visitor.known()
    desk.verifier.require_fresh(person.identity)
    return desk.page(
        visitor,
        "data.html",
        request=found,
        identity=person.identity,
        email=found.email if email is None else email,
        profile=profile or found.keystore_profile or "modern",
        note=note,
        status=status,
    )


def _delivery(
    visitor: Visitor,
    desk: Desk,
    found: JourneyRequest,
    *,
    password: str | None = None,
    note: str | None = None,
) -> Response[str]:
    fetched = _fetched(visitor, desk, found)
    return desk.page(visitor, "delivery.html", request=found, password=password, fetched=fetched, note=note)


def _fetched(visitor: Visitor, desk: Desk, found: JourneyRequest) -> bool:
    """Whether both parts were: then leaving loses nothing."""
    return found.store_id is not None and desk.held_stores.find(visitor.known(), found.store_id).delivered


HANDLERS = [
    show,
    progress,
    accept_terms,
    change_email,
    set_email,
    resend,
    verify,
    password,
    keystore,
    complete,
    cancel,
]
