from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.status.app import StatusApp
from api.status.config import StatusConfig
from issuer.publisher.responder import LiveResponder
from tests.fixtures.publication import MakeSite
from tests.fixtures.registries import OpenRegistry
from tests.fixtures.status_service import DirectLive, Service


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def service(make_site: MakeSite, open_registry: OpenRegistry, tmp_path: Path) -> Service:
    site = make_site(open_registry())
    site.pki.write(tmp_path / "pki", site.clock())
    app = StatusApp(
        config=StatusConfig(),
        database=open_registry(read_only=True),
        pki=tmp_path / "pki",
        publisher_socket=tmp_path / "nobody.sock",
        clock=site.clock,
        monotonic=site.clock.monotonic,
        shown={"walls": "none"},
    )
    live = DirectLive(LiveResponder(site.signer, site.clock.monotonic))
    app._live = app._ocsp._live = live  # type: ignore[assignment]
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://status")  # type: ignore[arg-type]
    return Service(site=site, app=app, live=live, http=http, pki_folder=tmp_path / "pki")
