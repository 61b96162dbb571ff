"""Whatever fails between revocation and relying service: never good what is revoked, all told afterwards,
and an alarm while there is time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.x509 import ocsp
from litestar.testing import TestClient
from sqlalchemy.exc import OperationalError

from api.internal.publisher_app import build_publisher_app
from hsm.errors import TokenUnavailable
from issuer import faults
from issuer.errors import CaUnavailable
from issuer.faults import FaultPoint
from issuer.publisher.loop import Differs, Publisher
from issuer.publisher.ocsp_request import ERROR_ANSWERS
from issuer.publisher.responder import LiveResponder
from tests.fixtures.pki import record_certificate, revoke
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.publication import Site, build_site
from tests.fixtures.registries import OpenRegistry
from tests.fixtures.status_service import YEAR, Service, known, request_for

pytestmark = pytest.mark.anyio

GOOD, REVOKED = "GOOD", "REVOKED"
TRY_LATER = "tryLater"


async def said(service: Service, serial: int) -> str:
    response = await service.http.post(
        "/pki/ocsp", content=request_for(service.site.pki.issuing.certificate, serial)
    )
    if response.content == ERROR_ANSWERS["tryLater"]:
        return TRY_LATER
    return ocsp.load_der_ocsp_response(response.content).certificate_status.name


async def listed(service: Service) -> set[int] | None:
    """None where no list is handed out."""
    response = await service.http.get("/pki/crl/issuing.crl")
    if response.status_code == 503:
        return None
    return {entry.serial_number for entry in x509.load_der_x509_crl(response.content)}


def publisher_of(site: Site) -> Publisher:
    return Publisher(site.signer, site.door)


def token_gone(patched: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> bytes:
        raise TokenUnavailable("gone")

    patched.setattr("issuer.publisher.ocsp.sign_verified", gone)


async def test_the_status_token_is_gone_for_an_hour(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known(service, 1, 2)
    with monkeypatch.context() as patched:
        token_gone(patched)
        revoke(service.site.database, 1, service.site.clock())
        for _ in range(6):
            service.site.clock.pass_(minutes=10)
            with pytest.raises(TokenUnavailable):
                service.site.answering.round()
            service.site.door.issue_crl("issuing")
            service.follow()
            assert await said(service, 1) == TRY_LATER
            assert await said(service, 2) == GOOD
            assert await listed(service) == {1}
    service.publish()
    service.live.away = True
    assert await said(service, 1) == REVOKED


async def test_the_alarm_comes_with_the_first_failure(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Answers end in twelve hours; /health/ready says it now, and again when all is well."""
    known(service, 1)
    site = service.site
    publisher = publisher_of(site)
    app = build_publisher_app(responder=LiveResponder(site.signer), publisher=publisher)
    with running(publisher), TestClient(app) as client:
        with monkeypatch.context() as patched:
            token_gone(patched)
            revoke(site.database, 1, site.clock())
            await eventually(lambda: "answers" in publisher.failing)
            ready = await asyncio.to_thread(client.get, "/health/ready")
            assert ready.status_code == 503
            assert ready.json()["failing"] == {"answers": "TokenUnavailable"}
        await eventually(lambda: publisher.failing == {})


async def test_the_issuing_token_is_gone_for_a_week(service: Service) -> None:
    """OCSP goes on. The CRL is old news and then none; the comparison says so three days ahead."""
    known(service, 1, 2)
    publisher, site = publisher_of(service.site), service.site
    site.door.broken = True
    revoke(site.database, 1, site.clock())
    alarmed_at = None
    begin = site.clock()
    while await listed(service) is not None:
        site.answering.round()
        with pytest.raises(CaUnavailable):
            publisher.publish_crl()
        try:
            publisher.reconcile()
        except Differs:
            alarmed_at = alarmed_at or site.clock()
        service.follow()
        assert await said(service, 1) == REVOKED
        assert await said(service, 2) == GOOD
        site.clock.pass_(hours=5)
        service.follow()
    assert site.clock() - begin >= timedelta(days=7) - timedelta(minutes=1)
    assert alarmed_at is not None
    assert alarmed_at - begin < timedelta(hours=6)
    site.door.broken = False
    publisher.publish_crl()
    site.answering.round()
    service.follow()
    assert await listed(service) == {1}
    publisher.reconcile()


async def test_the_disk_is_full(service: Service) -> None:
    """SQLite's own refusal. What was revoked before counts; what could not be written is written later."""
    site = service.site
    if not site.database.is_sqlite:
        return  # The same to us as a database that is away, below.
    known(service, *range(1, 20))
    revoke(site.database, 1, site.clock())
    with full(site):
        with pytest.raises(OperationalError, match="full"):
            for serial in range(100, 400):
                record_certificate(site.database, serial, site.clock(), life=YEAR)
        failed = 0
        for _ in range(10):
            for step in (site.answering.round, lambda: site.door.issue_crl("issuing")):
                try:
                    step()
                except OperationalError:
                    failed += 1
            site.clock.pass_(hours=1)
        assert failed > 0
        service.follow()
        service.live.away = True
        assert await said(service, 1) in (TRY_LATER, REVOKED)
    service.publish()
    assert await said(service, 1) == REVOKED
    assert 1 in (await listed(service) or ())
    site.clock.pass_(minutes=2)
    publisher_of(site).reconcile()


@contextmanager
def full(site: Site) -> Iterator[None]:
    pages = True

    @sa.event.listens_for(site.database.engine, "checkout")
    def _bound(connection: sa.engine.interfaces.DBAPIConnection, *_: object) -> None:
        cursor = connection.cursor()
        # Never less than there are, so nothing fits any more.
        cursor.execute(f"PRAGMA max_page_count = {1 if pages else 4_294_967_294}")
        cursor.close()

    try:
        yield
    finally:
        pages = False


@pytest.mark.parametrize(
    "point", [point for point in FaultPoint if point.name.startswith(("ANSWERS", "CRL"))]
)
async def test_killed_at_every_step(service: Service, point: FaultPoint) -> None:
    """The step ends there, and nothing in memory is used again; the tests of journey/ use real SIGKILLs."""

    class Killed(BaseException):
        pass

    def kill(reached: FaultPoint) -> None:
        if reached is point:
            raise Killed

    known(service, 1, 2)
    revoke(service.site.database, 1, service.site.clock())
    site = service.site
    faults.install(kill)
    try:
        publisher = publisher_of(site)
        with pytest.raises(Killed):
            publisher.answering.round()
            publisher.publish_crl()
    finally:
        faults.install(None)
    service.follow()
    service.live.away = True
    assert await said(service, 1) in (TRY_LATER, REVOKED)
    assert await said(service, 2) == GOOD
    publisher = publisher_of(build_site(site.database, site.pki, site.clock, site.config))
    publisher.answering.round()
    publisher.publish_crl()
    service.follow()
    assert await said(service, 1) == REVOKED
    assert await listed(service) == {1}
    site.clock.pass_(minutes=2)
    publisher.reconcile()


@pytest.mark.parametrize("hours", [-24 * 400, -24, -1, 1, 11, 24, 24 * 8])
async def test_the_clock_jumps(service: Service, hours: int) -> None:
    known(service, 1, 2)
    revoke(service.site.database, 1, service.site.clock())
    service.publish()
    service.live.away = True
    for step in (hours, -hours):
        service.site.clock.pass_(hours=step)
        service.follow()
        assert await said(service, 1) in (REVOKED, TRY_LATER)
        assert await listed(service) in ({1}, None)
        if service.site.signer.certificate.not_valid_before_utc <= service.site.clock():
            service.publish()
            assert await said(service, 1) == REVOKED
            assert await said(service, 2) == GOOD
            assert await listed(service) == {1}


async def test_the_database_is_away(
    open_registry: OpenRegistry,
    service: Service,
    request: pytest.FixtureRequest,
) -> None:
    """PostgreSQL ends every connection and takes no new one for a while: tryLater, then all is told."""
    site = service.site
    if site.database.is_sqlite:
        assert open_registry().is_sqlite  # A file does not restart.
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    known(service, 1, 2)
    service.live.away = True
    publisher, stop = publisher_of(site), threading.Event()
    following = threading.Thread(target=service.app._follower.run, args=(stop,))
    following.start()
    try:
        with running(publisher):
            await eventually(lambda: publisher.leads)
            name = site.database.url.database
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
            )
            await eventually(lambda: not publisher.leads)
            site.clock.pass_(seconds=11)
            assert await said(service, 2) == TRY_LATER
            assert await listed(service) is None
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            revoke(site.database, 1, site.clock())
            await eventually(lambda: publisher.leads)
            deadline = asyncio.get_running_loop().time() + 60
            while (await said(service, 1), await said(service, 2), await listed(service)) != (
                REVOKED,
                GOOD,
                {1},
            ):
                assert await said(service, 1) != GOOD or not service.app._index.vouches
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await asyncio.to_thread(following.join)


@contextmanager
def running(publisher: Publisher) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never happened"
        await asyncio.sleep(0.01)
