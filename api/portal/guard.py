"""What every page is sent with, and what every form must bring (ASVS 5.0 V3.4, V3.5)."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

from litestar import Request

from api.portal.cookies import Cookies
from api.portal.sessions import form_token, parse_cookie

FORM_FIELD = "form_token"


class FormRefused(Exception):
    """A form that is not of this session's own pages, or of a session that is over."""

    code = "form-refused"


async def check_form(request: Request[Any, Any, Any], cookies: Cookies, public_url: str) -> None:
    """Raises FormRefused. Both checks hold by themselves: where the form comes from, and whose it is."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise FormRefused("from another site")
    if origin is not None and urlsplit(origin).netloc not in {
        urlsplit(public_url).netloc,
        request.headers.get("host", ""),
    }:
        raise FormRefused("from another origin")
    cookie = parse_cookie(cookies.read(request, "session"))
    given = (await request.form()).get(FORM_FIELD)
    if cookie is None or not isinstance(given, str):
        raise FormRefused("no session, or no token")
    if not hmac.compare_digest(given.encode(), form_token(cookie).encode()):
        raise FormRefused("another session's token")


def page_headers(*, provider_origin: str, secure: bool) -> dict[bytes, bytes]:
    # A log-out is a form that ends at the provider, and browsers hold form-action against redirects too.
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self' {provider_origin}; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        b"content-security-policy": policy.encode("ascii"),
        # Not no-referrer: browsers would then send forms with an Origin of null.
        b"referrer-policy": b"same-origin",
        b"cross-origin-opener-policy": b"same-origin",
        b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        b"x-frame-options": b"DENY",
    }
    if secure:
        headers[b"strict-transport-security"] = b"max-age=63072000; includeSubDomains"
    return headers
