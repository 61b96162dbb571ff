"""Five hundred attempts at once to obtain a store for one professional: exactly one succeeds (invariant 1).

Through four web processes with the right code; past them, at the issuer's own door, with as many requests.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from api.internal.client import IssuerClient
from api.layout import Layout
from api.problems import RemoteProblem
from issuer.clock import system_clock
from issuer.issuance.keystore.sealing import derive_recipient
from issuer.issuance.order import Order
from issuer.registry.database import Database
from issuer.registry.tables import certificates, stores
from tests.fixtures.cast import Cast
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import wait_until
from tests.fixtures.system import MYCERT, System, free_ports

pytestmark = pytest.mark.slow

ATTEMPTS = 500
AT_ONCE = 64
WEBS = 4


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def cast(request: pytest.FixtureRequest) -> Iterator[Cast]:
    home = Path(tempfile.mkdtemp(prefix="mycert-one-", dir="/tmp"))
    environment = {
        "MYCERT_KEYSTORE__KEY_TYPE": "p-256",
        "MYCERT_LIMITS__CALLS_PER_MINUTE": "100000",
        "MYCERT_ISSUANCE__PER_PERSON_HOUR": "1000",
    }
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"one_{os.getpid()}"
        server.execute(f"CREATE DATABASE {name}")
        environment |= {f"MYCERT_DATABASE__{part}": server.url(name) for part in ("REGISTRY", "JOURNEY")}
    port = free_ports(4 + WEBS)
    cast = Cast.begin(home, port, **environment)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home)
        stack.callback(cast.end)
        for other in range(1, WEBS):
            env = cast.environment | {
                "MYCERT_PORT": str(port + 3 + other),
                "MYCERT_STATUS_PORT": str(port + 1),
            }
            log = stack.enter_context((home / "log" / f"web-{other}.log").open("wb"))
            web = subprocess.Popen([MYCERT, "web"], env=env, stdout=log, stderr=log, cwd=home)
            stack.callback(web.wait, 30)
            stack.callback(web.terminate)
            wait_until(lambda other=other: _lives(port + 3 + other), 60)
        yield cast


def _lives(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_through_four_web_processes(cast: Cast) -> None:
    system = cast.system()
    person = system.person("2221400001")
    request, code = person.until_code("one@example.com")
    ports = [cast.port, *(cast.port + 3 + other for other in range(1, WEBS))]
    with ExitStack() as stack:
        stack.callback(system.http.close)
        limits = httpx.Limits(max_connections=AT_ONCE)
        webs = [
            stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits, trust_env=False)
            )
            for port in ports
        ]

        def attempt(number: int) -> str:
            answer = webs[number % WEBS].post(
                f"/api/v1/requests/{request}/verification",
                json={"code": code},
                headers={"Authorization": f"Bearer {person.bearer}", "Delivery-Token": _token()},
            )
            return "done" if answer.status_code == 202 else f"{answer.status_code} {answer.json()['code']}"

        ends = _at_once(attempt)
        assert ends.pop("done") == 1
        assert set(ends) <= {"409 wrong-state", "429 too-many-requests"}
        person.wait_for(request, "ready")
    _exactly_one(cast, system, "2221400001")


def test_at_the_issuers_own_door(cast: Cast) -> None:
    system = cast.system()
    person = system.person("2221400002")
    socket = str(Layout(cast.home).socket("issuer-web"))
    doors = [IssuerClient(socket, timeout=60) for _ in range(WEBS)]
    now = system_clock()

    def attempt(number: int) -> str:
        order = Order(
            request_id=str(uuid.uuid4()),
            email="one@example.com",
            language="en",
            keystore_profile="modern",
            recipient=derive_recipient(secrets.token_bytes(32)),
            terms_version="1",
            terms_sha256="0" * 64,
            terms_language="en",
            terms_accepted_at=now - timedelta(seconds=5),
            accepted_at=now,
        )
        try:
            doors[number % WEBS].order(person.bearer, order)
            return "begun"
        except RemoteProblem as refusal:
            return refusal.code

    try:
        ends = _at_once(attempt)
        assert ends.pop("begun") == 1
        assert set(ends) <= {"active-store-exists", "too-many-requests"}
        assert ends["active-store-exists"] > 0
        wait_until(lambda: not _rows(cast, "2221400002", "issuing"), 60)
    finally:
        for door in doors:
            door.close()
        system.http.close()
    _exactly_one(cast, system, "2221400002")


def _at_once(attempt: Callable[[int], str]) -> Counter[str]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return Counter(threads.map(attempt, range(ATTEMPTS)))


def _token() -> str:
    return urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def _rows(cast: Cast, ehealth_id: str, status: str | None = None) -> list[str]:
    """The statuses of the person's stores, and nothing signed that is not among them."""
    url = cast.environment.get(
        "MYCERT_DATABASE__REGISTRY", f"sqlite:///{cast.home}/data/registry/registry.db"
    )
    registry = Database(url, channel="registry", read_only=True, pool_size=1)
    try:
        with registry.read() as connection:
            found = connection.execute(
                sa.select(stores.c.status, certificates.c.serial)
                .outerjoin(certificates, certificates.c.serial == stores.c.serial)
                .where(stores.c.ehealth_id == ehealth_id)
            ).all()
    finally:
        registry.close()
    return [row.status for row in found if status in (None, row.status)]


def _exactly_one(cast: Cast, system: System, ehealth_id: str) -> None:
    assert _rows(cast, ehealth_id) == ["active"]
    logs = "".join(path.read_text() for path in (cast.home / "log").glob("*.log"))
    assert "unhandled" not in logs
    assert "deadlock" not in logs.lower()
    assert system.process.poll() is None
