"""A request's one page. What it shows follows from the request's state alone, so that reload, back and
a second tab are all the same (R14); each form leads back to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from api.journey.records import JourneyRequest
from api.journey.tokens import DELIVERY_TOKEN_BYTES, base64url
from api.lanes import ISSUING, MAILING, READING
from api.mail.errors import MailError
from api.portal.sessions import parse_cookie
from api.portal.visit import Answer, Here, Visit, go
from api.problems import problem_of, record_problem
from api.web.delivery import keystore_file
from issuer.registry.deliveries import PARTS, Part
from policies.errors import CodeMalformed, TooManyRequests
from policies.lifecycle import BEFORE_GENERATION, RequestState

_SHOWN_HERE = frozenset(
    {
        "code-invalid", "code-expired", "code-locked", "too-many-requests", "mail-unavailable",
        "ca-unavailable", "code-resent", "terms-unread", "other-browser", "cookies-needed",
    }
)  # fmt: skip
"""Messages that an address may ask this page to show; each is a fixed text."""


@get("/requests/{request_id:str}")
@READING.handler
def show(visit: Here, request_id: FromPath[str], note: FromQuery[str | None] = None) -> Answer:
    desk, found = visit.desk, visit.cases.journey.find(visit.person, request_id)
    note = note if note in _SHOWN_HERE else None
    if found.state in BEFORE_GENERATION and not _accepted(visit, found):
        terms = desk.cases.texts.terms(visit.visitor.language)
        return visit.page("terms.html", request=found, terms=terms, note=note)
    match found.state:
        case RequestState.TERMS_ACCEPTED:
            return _data(visit, found)
        case RequestState.CODE_SENT:
            _ = visit.fresh
            minutes = desk.cases.steps.config.code_lifetime // 60
            answer = visit.page(
                "code.html", request=found, note=note, now=desk.cases.clock(), minutes=minutes
            )
            if parse_cookie(visit.delivery_token) is None:
                # The browser's own, before the verification: a lost answer can then be asked for again.
                token = base64url(desk.random(DELIVERY_TOKEN_BYTES))
                answer.set_cookie(desk.cookies.delivery(token, found.id))
            return answer
        case RequestState.GENERATING:
            return visit.page("generation.html", request=found, now=desk.cases.clock())
        case RequestState.READY:
            return _delivery(visit, found, note=note)
        case RequestState.DELIVERED:
            return go("/")
        case _:
            return visit.page("ended.html", request=found, status=410)


@get("/requests/{request_id:str}/progress")
@READING.handler
def progress(visit: Here, request_id: FromPath[str]) -> dict[str, Any]:
    found = visit.cases.journey.find(visit.person, request_id)
    ready = found.state is RequestState.READY
    return {"state": found.state, "fetched": sorted(_fetched(visit, found)) if ready else []}


@post("/requests/{request_id:str}/terms", status_code=303)
@READING.handler
def accept_terms(visit: Here, request_id: FromPath[str]) -> Answer:
    if visit.text("accepted") != "yes":
        return go(f"/requests/{request_id}?note=terms-unread")
    language = visit.visitor.language
    visit.cases.journey.accept_terms(visit.person, request_id, visit.text("version"), language)
    return go(f"/requests/{request_id}")


@get("/requests/{request_id:str}/email")
@READING.handler
def change_email(visit: Here, request_id: FromPath[str]) -> Answer:
    found = visit.cases.journey.find(visit.person, request_id)
    if found.state is not RequestState.CODE_SENT or not _accepted(visit, found):
        return go(f"/requests/{request_id}")
    return _data(visit, found)


@post("/requests/{request_id:str}/email", status_code=303)
@MAILING.handler
def set_email(visit: Here, request_id: FromPath[str]) -> Answer:
    person, desk, email = visit.person, visit.desk, visit.text("email").strip()
    profile = "legacy" if visit.text("keystore_profile") == "legacy" else "modern"
    try:
        desk.cases.verification.set_email(person, request_id, email, profile, visit.visitor.language)
    except (MailError, TooManyRequests) as error:
        refused = problem_of(error)
        record_problem(refused, error)
        found = desk.cases.journey.find(person, request_id)
        return _data(visit, found, email=email, profile=profile, note=refused.code, status=refused.status)
    return go(f"/requests/{request_id}")


@post("/requests/{request_id:str}/code", status_code=303)
@MAILING.handler
def resend(visit: Here, request_id: FromPath[str]) -> Answer:
    visit.cases.verification.resend(visit.person, request_id)
    return go(f"/requests/{request_id}?note=code-resent")


@post("/requests/{request_id:str}/verification", status_code=303)
@ISSUING.handler
def verify(visit: Here, request_id: FromPath[str]) -> Answer:
    person, token = visit.fresh, visit.delivery_token
    if token is None:
        return go(f"/requests/{request_id}?note=cookies-needed")
    try:
        visit.cases.verification.verify(person, request_id, "".join(visit.text("code").split()), token)
    except CodeMalformed:
        return go(f"/requests/{request_id}?note=code-invalid")
    return go(f"/requests/{request_id}")


@get("/requests/{request_id:str}/password")
@ISSUING.handler
def password(visit: Here, request_id: FromPath[str]) -> Answer:
    """The same page with the password in it, so that a reload still shows it."""
    journey = visit.cases.journey
    secret = journey.fetch(visit.person, request_id, "password", visit.delivery_token)
    return _delivery(visit, journey.find(visit.person, request_id), password=secret.decode("ascii"))


@get("/requests/{request_id:str}/keystore")
@ISSUING.handler
def keystore(visit: Here, request_id: FromPath[str]) -> Response[bytes]:
    journey = visit.cases.journey
    content = journey.fetch(visit.person, request_id, "keystore", visit.delivery_token)
    return keystore_file(visit.person, content)


@post("/requests/{request_id:str}/completion", status_code=303)
@ISSUING.handler
def complete(visit: Here, request_id: FromPath[str]) -> Answer:
    """Asks once more where a part was not fetched yet: what is left behind here is gone for good."""
    found = visit.cases.journey.find(visit.person, request_id)
    fetched = _fetched(visit, found)
    owed = fetched != PARTS
    if found.state is RequestState.READY and owed and visit.text("incomplete") != "yes":
        return visit.page("incomplete.html", request=found, fetched=fetched)
    visit.cases.journey.complete(visit.person, request_id)
    return go("/" if owed else "/?notice=delivered")


@get(
    [
        f"/requests/{{request_id:str}}/{step}"
        for step in ("terms", "code", "verification", "completion", "cancellation")
    ],
    sync_to_thread=False,
)
def back(request_id: FromPath[str]) -> Redirect:
    """A form's address opened by itself, as a browser does that restores its tabs."""
    return go(f"/requests/{quote(request_id, safe='')}")


@post("/requests/{request_id:str}/cancellation", status_code=303)
@ISSUING.handler
def cancel(visit: Here, request_id: FromPath[str]) -> Answer:
    visit.cases.journey.cancel(visit.person, request_id)
    return go("/?notice=cancelled")


def _accepted(visit: Visit, found: JourneyRequest) -> bool:
    return found.terms_version == visit.cases.texts.terms_version


def _data(
    visit: Visit,
    found: JourneyRequest,
    *,
    email: str | None = None,
    profile: str | None = None,
    note: str | None = None,
    status: int = 200,
) -> Response[str]:
    return visit.page(
        "data.html",
        request=found,
        identity=visit.fresh.identity,
        email=found.email if email is None else email,
        profile=profile or found.keystore_profile or "modern",
        note=note,
        status=status,
    )


def _delivery(visit: Visit, found: JourneyRequest, **more: Any) -> Response[str]:
    shown: dict[str, Any] = {"password": None, "note": None, **more}
    if visit.delivery_token is None:
        # It can open nothing here; nor does its way home end what another browser may still fetch.
        shown["note"] = "other-browser"
    return visit.page("delivery.html", request=found, fetched=_fetched(visit, found), **shown)


def _fetched(visit: Visit, found: JourneyRequest) -> frozenset[Part]:
    """What was handed out. After both, leaving loses nothing."""
    if found.store_id is None:
        return frozenset()
    return visit.cases.held_stores.find(visit.person, found.store_id).fetched


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
    back,
    cancel,
]
