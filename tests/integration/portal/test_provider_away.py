"""The provider cannot be asked, or what speaks in its place is another's: nobody gets in, and is told so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from api.portal.config import PortalConfig
from tests.fixtures.world import World
from tests.integration.portal.conftest import IDENTITY, make_portal

pytestmark = pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)

GOOD = {
    "issuer": IDENTITY.issuer,
    "authorization_endpoint": "https://idp.example.lu/auth",
    "token_endpoint": "https://idp.example.lu/token",
}


class Discovery(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.server.said  # type: ignore[attr-defined]
        self.send_response(200 if body else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Discovery)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"<html>",
        json.dumps(GOOD | {"issuer": "https://evil.example"}).encode(),
        json.dumps(GOOD | {"token_endpoint": "http://idp.example.lu/token"}).encode(),
        b" " * 300_000,
    ],
    ids=["fails", "is no metadata", "another issuer", "in the clear", "endless"],
)
def test_a_log_in_waits_for_a_provider_that_is_ours(world: World, provider: HTTPServer, said: bytes) -> None:
    portal = make_portal(
        world, config=PortalConfig(discovery_url=f"http://127.0.0.1:{provider.server_port}/")
    )
    provider.said = said  # type: ignore[attr-defined]
    refused = portal.browser().get("/login")
    assert refused.status_code == 503
    assert "La connexion est indisponible un instant" in refused.text
    provider.said = json.dumps(GOOD).encode()  # type: ignore[attr-defined]
    assert portal.browser().get("/login").headers["location"].startswith("https://idp.example.lu/auth?")
    # What was known serves while the provider is away.
    provider.said = b""  # type: ignore[attr-defined]
    world.clock.pass_time(hours=2)
    assert portal.browser().get("/login").status_code == 303
    portal.desk.provider.close()
