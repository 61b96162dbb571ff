"""The simulated provider's browser side: OpenID Connect's authorization code flow with PKCE.

Whoever asks picks whom to be. It exists in demo mode alone, on loopback, and says so on every page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment, PackageLoader
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from api.demo.config import DemoConfig
from api.demo.idp import ALGORITHM, SimulatedProvider
from api.demo.people import PEOPLE, Person
from api.layout import Layout
from issuer.clock import Clock, RandomBytes
from issuer.identity.config import IdentityConfig

_CODE_LIFETIME = timedelta(minutes=1)
_MOST_CODES = 1000
_PAGE = Environment(loader=PackageLoader("api.demo"), autoescape=True).get_template("login.html")
_NOTICE = "SIMULATED identity provider of the myCert demo. It proves nobody's identity.\n/jwks.json\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    person: Person
    auth_age: int
    nonce: str
    redirect_uri: str
    challenge: str
    until: datetime


@dataclass(slots=True, kw_only=True)
class LoginPages:
    """Codes live in memory: a restart forgets them, and the person logs in once more."""

    provider: SimulatedProvider
    identity: IdentityConfig
    portal: str
    clock: Clock
    random: RandomBytes
    _grants: dict[str, _Grant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, query: dict[str, str]) -> str:
        self._check(query)
        return _PAGE.render(
            people=PEOPLE,
            other=Person(),
            fields=Person.__dataclass_fields__,
            query=query,
            again=query.get("prompt") == "login",
        )

    def grant(self, form: dict[str, str]) -> str:
        """Where the browser goes with its code."""
        self._check(form)
        person = PEOPLE.get(form.get("person", "")) or Person(
            **{name: form.get(name, "") for name in Person.__dataclass_fields__}
        )
        code = self.random(24).hex()
        age = form.get("auth_age", "0")
        now = self.clock()
        with self._lock:
            self._grants = {k: g for k, g in self._grants.items() if g.until > now}
            if len(self._grants) >= _MOST_CODES:
                raise HTTPException(status_code=503)
            self._grants[code] = _Grant(
                person=person,
                auth_age=int(age) if age.isdigit() and len(age) < 7 else 0,
                nonce=form.get("nonce", ""),
                redirect_uri=form["redirect_uri"],
                challenge=form["code_challenge"],
                until=now + _CODE_LIFETIME,
            )
        answer = {"code": code, "state": form.get("state", ""), "iss": self.identity.issuer}
        return f"{form['redirect_uri']}?{urlencode(answer)}"

    def redeem(self, form: dict[str, str]) -> dict[str, Any] | None:
        """None is a refusal (RFC 6749 5.2)."""
        with self._lock:
            grant = self._grants.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(
            hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        ).rstrip(b"=")
        if (
            form.get("grant_type") != "authorization_code"
            or grant is None
            or self.clock() > grant.until
            or form.get("redirect_uri") != grant.redirect_uri
            or not hmac.compare_digest(challenge, grant.challenge.encode())
        ):
            return None
        token = self.provider.mint(grant.person, auth_age=grant.auth_age, nonce=grant.nonce)
        return {"access_token": self.random(16).hex(), "token_type": "Bearer", "id_token": token}

    def after_logout(self, query: dict[str, str]) -> str:
        wanted = query.get("post_logout_redirect_uri", self.portal)
        return wanted if wanted.startswith(f"{self.portal}/") else f"{self.portal}/"

    def _check(self, query: dict[str, str]) -> None:
        if (
            query.get("client_id") != self.identity.audience
            or query.get("response_type") != "code"
            or query.get("redirect_uri") != f"{self.portal}/login/callback"
            or query.get("code_challenge_method") != "S256"
            or not query.get("code_challenge")
        ):
            raise HTTPException(status_code=400)


def provider_app(
    demo: DemoConfig,
    identity: IdentityConfig,
    home: Any,
    *,
    address: str,
    portal: str,
    clock: Clock,
    random: RandomBytes,
) -> Litestar:
    """What `mycert idp` serves on loopback. Raises DemoDisabled outside demo mode."""
    provider = SimulatedProvider(demo, identity, home, clock)
    pages = LoginPages(provider=provider, identity=identity, portal=portal, clock=clock, random=random)
    origin = urlsplit(portal)
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {origin.scheme}://{origin.netloc}"
    )

    def mark(response: Response[Any]) -> Response[Any]:
        response.headers.update(
            {"Cache-Control": "no-store", "X-MyCert": "simulated", "Content-Security-Policy": policy}
        )
        return response

    @get("/", sync_to_thread=False, media_type=MediaType.TEXT)
    def notice() -> str:
        return _NOTICE

    @get("/jwks.json", sync_to_thread=False)
    def keys() -> Response[bytes]:
        return Response(Layout(home).idp_jwks.read_bytes(), media_type="application/json")

    @get("/login.css", sync_to_thread=False)
    def style() -> Response[bytes]:
        content = resources.files("api.demo").joinpath("static/login.css").read_bytes()
        return Response(content, media_type="text/css")

    @get("/.well-known/openid-configuration", sync_to_thread=False)
    def metadata() -> dict[str, Any]:
        return {
            "issuer": identity.issuer,
            "authorization_endpoint": f"{address}/authorize",
            "token_endpoint": f"{address}/token",
            "jwks_uri": f"{address}/jwks.json",
            "end_session_endpoint": f"{address}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "acr_values_supported": list(identity.accepted_acr),
            "ui_locales_supported": ["fr"],
        }

    @get("/authorize", sync_to_thread=False, media_type=MediaType.HTML)
    def authorize(request: Request[Any, Any, Any]) -> str:
        return pages.choose(dict(parse_qsl(request.url.query)))

    @post("/authorize", status_code=303)
    async def choose(request: Request[Any, Any, Any]) -> Redirect:
        return Redirect(pages.grant(await _fields(request)), status_code=303)

    @post("/token", status_code=200)
    async def token(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        if (redeemed := pages.redeem(await _fields(request))) is None:
            return Response({"error": "invalid_grant"}, status_code=400)
        return Response(redeemed)

    @get("/logout", status_code=303, sync_to_thread=False)
    def logout(request: Request[Any, Any, Any]) -> Redirect:
        return Redirect(pages.after_logout(dict(parse_qsl(request.url.query))), status_code=303)

    return Litestar(
        route_handlers=[notice, keys, style, metadata, authorize, choose, token, logout],
        after_request=mark,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=64 * 1024,
    )


async def _fields(request: Request[Any, Any, Any]) -> dict[str, str]:
    form = await request.form()
    return {name: value for name, value in form.multi_items() if isinstance(value, str)}
