"""The portal over the world in one process, with a clock that moves; the provider is a name for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.journey.steps import Person
from api.portal.app import not_found_pages, portal_routers
from api.portal.config import PortalConfig
from api.portal.desk import Desk
from api.problems import exception_handlers
from api.web.budget import CallBudget
from api.web.headers import ProtectiveHeaders
from issuer.identity.config import IdentityConfig
from issuer.identity.errors import AssertionRefused, AuthenticationTooOld
from issuer.identity.identity import Identity
from tests.fixtures.world import World

ADDRESS = "https://mycert.example.lu"
CONFIG = PortalConfig(discovery_url="https://idp.example.lu/.well-known/openid-configuration")
IDENTITY = IdentityConfig(issuer="https://idp.example.lu", audience="mycert", jwks_file="unused")


class KnownIdentities:
    """In the place of AssertionVerifier: the world's own assertions."""

    def __init__(self, world: World) -> None:
        self._world = world

    def verify(self, token: str) -> Identity:
        identity = self._world.identities.get(token)
        if identity is None or identity.expires_at <= self._world.clock.now:
            raise AssertionRefused("unknown")
        return identity

    def require_fresh(self, identity: Identity) -> None:
        if (self._world.clock.now - identity.authenticated_at).total_seconds() > 900:
            raise AuthenticationTooOld("too old")

    def is_support(self, identity: Identity) -> bool:
        return "mycert-support" in identity.roles


@dataclass
class Portal:
    world: World
    desk: Desk
    app: Litestar

    def browser(self) -> Browser:
        return Browser(self)


class Browser:
    """Cookies, forms with their token, and nothing followed that is not asked for."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        served = ProtectiveHeaders(portal.app, portal.desk.page_headers)
        self.client: TestClient[Any] = TestClient(served, base_url=ADDRESS)
        self.person: Person | None = None

    def log_in(self, person: Person) -> Browser:
        """As the callback does."""
        value = self.portal.desk.sessions.open(person.assertion, person.identity.expires_at, "provider-1")
        self.client.cookies.set("__Host-mycert-session", value, domain="mycert.example.lu")
        self.person = person
        return self

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, follow_redirects=False, **options)

    def token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.get("/").text)
        assert found is not None
        return found.group(1)

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        fields = {"form_token": self.token()} | fields if "form_token" not in fields else fields
        return self.client.post(
            path, data=fields, headers={"Origin": ADDRESS} | (headers or {}), follow_redirects=False
        )


def make_portal(
    world: World,
    *,
    address: str = ADDRESS,
    identity: IdentityConfig = IDENTITY,
    config: PortalConfig = CONFIG,
    verifier: Any = None,
) -> Portal:
    desk = Desk(
        config,
        identity,
        public_url=address,
        demo=False,
        cases=world.cases,
        verifier=verifier or KnownIdentities(world),
        budget=CallBudget(10_000, world.clock),
    )
    app = Litestar(
        route_handlers=portal_routers(desk),
        exception_handlers=exception_handlers() | not_found_pages(desk),
        openapi_config=None,
        logging_config=None,
    )
    return Portal(world=world, desk=desk, app=app)


@pytest.fixture
def portal(world: World) -> Iterator[Portal]:
    made = make_portal(world)
    yield made
    made.desk.provider.close()
