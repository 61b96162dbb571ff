"""Log-in, step-up and log-out. The browser alone holds what ties a log-in's answer to its beginning."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect

from api.journey.tokens import base64url
from api.lanes import LOGIN
from api.logs import get_logger
from api.portal.desk import Desk
from api.portal.provider import CALLBACK, Attempt, LoginRefused, check_answers, claims_of
from api.portal.sessions import COOKIE_BYTES, derive, parse_cookie
from api.portal.visit import go, language_of, safe_place, visitor_of
from issuer.identity.errors import AssertionRefused, ProviderKeysUnavailable

log = get_logger()


def _attempt(cookie: bytes) -> Attempt:
    """State, nonce and PKCE verifier are derived, so that a log-in under way leaves nothing at the server."""
    return Attempt(
        state=base64url(derive(cookie, "state")),
        nonce=base64url(derive(cookie, "nonce")),
        verifier=base64url(derive(cookie, "verifier")),
    )


@get("/login")
@LOGIN.handler
def login(
    request: Request[Any, Any, Any],
    desk: NamedDependency[Desk],
    to: FromQuery[str | None] = None,
    again: FromQuery[bool] = False,
) -> Redirect:
    place = safe_place(to)
    public = urlsplit(desk.public_url)
    if request.headers.get("host", public.netloc) != public.netloc:
        # The provider leads back to the public address, where this host's cookies would be missing.
        step_up = "&again=true" if again else ""
        return Redirect(f"{desk.public_url}/login?to={place}{step_up}", status_code=303)
    cookie = desk.random(COOKIE_BYTES)
    language = language_of(request, desk)
    answer = Redirect(
        desk.provider.login_address(_attempt(cookie), language=language, again=again), status_code=303
    )
    answer.set_cookie(desk.cookies.attempt(f"{base64url(cookie)}.{place}", desk.config.login_lifetime))
    return answer


@get(CALLBACK)
@LOGIN.handler
def callback(request: Request[Any, Any, Any], desk: NamedDependency[Desk]) -> Redirect:
    value, _, place = (desk.cookies.read(request, "login") or "").partition(".")
    cookie = parse_cookie(value)
    if cookie is None:
        person = visitor_of(request, desk).person
        if person is not None:
            desk.budget.spend(person.identity)
            return go("/")  # Back, or a reload, after a log-in that has done its work.
        raise LoginRefused("no log-in was begun in this browser")
    if request.query_params.get("iss", desk.identity.issuer) != desk.identity.issuer:
        raise LoginRefused("another issuer's answer (RFC 9207)")
    if "code" not in request.query_params:
        # Said by whoever made the address: to the log alone, and shortened.
        raise LoginRefused(f"no code: {request.query_params.get('error', '')!r:.60}")
    attempt = _attempt(cookie)
    assertion = desk.provider.redeem(str(request.url), attempt)
    try:
        identity = desk.verifier.verify(assertion)
        claims = claims_of(assertion)
    except ProviderKeysUnavailable:
        raise
    except AssertionRefused as error:
        raise LoginRefused(f"the ID token: {error}") from None
    check_answers(claims, attempt, desk.identity.audience)
    _end_session(request, desk)
    session = claims.get("sid")
    opened = desk.sessions.open(assertion, identity.expires_at, session if isinstance(session, str) else None)
    log.info("logged-in", luxtrust=identity.standing.luxtrust, authenticated_at=identity.authenticated_at)
    answer = go(safe_place(place))
    answer.set_cookie(desk.cookies.session(opened))
    answer.set_cookie(desk.cookies.attempt("", 0))
    return answer


@post("/logout", status_code=303)
@LOGIN.handler
def logout(request: Request[Any, Any, Any], desk: NamedDependency[Desk]) -> Response[Any]:
    _end_session(request, desk)
    log.info("logged-out")
    answer = Redirect(desk.provider.logout_address(), status_code=303)
    answer.set_cookie(desk.cookies.session(""))
    return answer


def _end_session(request: Request[Any, Any, Any], desk: Desk) -> None:
    cookie = parse_cookie(desk.cookies.read(request, "session"))
    if cookie is not None:
        desk.sessions.close(cookie)


HANDLERS = [login, callback, logout]
