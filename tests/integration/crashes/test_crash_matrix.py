"""Each process, the worker and the database's connections, ended at every step of issuance and deactivation.

Afterwards, whatever died: every certificate that may have been signed has its row, and is either its person's
active store, which they can still fetch or are told about, or revoked; and the person starts again at once.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import tempfile
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import sqlalchemy as sa
from cryptography import x509

from issuer.faults import FaultPoint
from issuer.registry.database import Database
from issuer.registry.tables import certificates, deliveries, revocations, stores
from tests.fixtures.cast import Cast
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import wait_until
from tests.fixtures.system import Caller, System, free_ports

pytestmark = pytest.mark.slow

P = FaultPoint
OWNER: Final = {
    **dict.fromkeys((P.CODE_ACCEPTED, P.STORE_ORDERED), "web"),
    **dict.fromkeys((P.DEACTIVATION_CONFIRMED, P.DEACTIVATION_ANSWERED), "web"),
    **dict.fromkeys((P.ORDER_CLAIMING, P.ORDER_CLAIMED, P.GENERATION_BEGUN, P.KEY_MADE), "issuer"),
    **dict.fromkeys((P.CERTIFICATE_LINTED, P.INTENT_WRITING, P.INTENT_WRITTEN), "issuer"),
    **dict.fromkeys((P.CERTIFICATE_SIGNED, P.STORE_SEALED, P.STORE_ACTIVATING, P.STORE_ACTIVATED), "issuer"),
    **dict.fromkeys((P.STORE_ENDING, P.STORE_ENDED, P.CRL_NUMBERED, P.CRL_SIGNED, P.CRL_STORED), "issuer"),
    **dict.fromkeys((P.ANSWERS_SIGNED, P.ANSWERS_STORED, P.CRL_DUE, P.CRL_PUBLISHED), "publisher"),
}
"""The process whose step it is. A point without an owner fails below."""

OF_ENDING: Final = {
    *(P.DEACTIVATION_CONFIRMED, P.STORE_ENDING, P.STORE_ENDED, P.DEACTIVATION_ANSWERED),
    *(P.CRL_DUE, P.CRL_NUMBERED, P.CRL_SIGNED, P.CRL_STORED, P.CRL_PUBLISHED),
}
WITH_WORKER: Final = {
    P.KEY_MADE,
    P.CERTIFICATE_LINTED,
    P.INTENT_WRITING,
    P.INTENT_WRITTEN,
    P.CERTIFICATE_SIGNED,
}
VICTIMS: Final = ("web", "issuer", "publisher", "worker", "database")
CASES: Final = [
    pytest.param(point, victim, id=f"{point}-{victim}")
    for point in FaultPoint
    for victim in VICTIMS
    if victim != "worker" or point in WITH_WORKER
]
_numbers = count(2221300001)


@dataclass(frozen=True, kw_only=True)
class Scene:
    cast: Cast
    system: System
    registry: Database
    cut: Callable[[], None]
    """Ends every connection; of SQLite, which has none, another writer takes the lock for a second."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    home = Path(tempfile.mkdtemp(prefix="mycert-crash-", dir="/tmp"))
    urls: dict[str, str] = {}
    registry_url = f"sqlite:///{home}/data/registry/registry.db"
    cut = partial(_lock_for_a_second, home / "data" / "registry" / "registry.db")
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"crash_{os.getpid()}"
        server.execute(f"CREATE DATABASE {name}")
        url = server.url(name)
        urls = {f"MYCERT_DATABASE__{section}": url for section in ("REGISTRY", "JOURNEY")}
        registry_url = url + "&application_name=matrix"
        others = f"datname = '{name}' AND application_name <> 'matrix'"
        statement = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"  # noqa: S608
        cut = partial(server.execute, statement)
    cast = Cast.begin(
        home,
        free_ports(4),
        MYCERT_KEYSTORE__KEY_TYPE="p-256",
        MYCERT_ISSUANCE__REAP_EVERY="1",
        MYCERT_LIMITS__CALLS_PER_MINUTE="100000",
        **urls,
    )
    registry = Database(registry_url, channel="registry", read_only=True, pool_size=1)
    system = cast.system()
    try:
        yield Scene(cast=cast, system=system, registry=registry, cut=cut)
    finally:
        system.http.close()
        cast.end()
        registry.close()
        shutil.rmtree(home)


def _lock_for_a_second(path: Path) -> None:
    """Not where the halted process holds it itself: then it is the other processes that wait."""
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None, check_same_thread=False)
    with suppress(sqlite3.OperationalError):
        connection.execute("BEGIN IMMEDIATE")
    threading.Timer(1.0, connection.close).start()


def test_no_step_is_forgotten() -> None:
    assert set(OWNER) == set(FaultPoint)


@pytest.mark.parametrize(("point", "victim"), CASES)
def test_whatever_dies_nothing_is_half_made(scene: Scene, point: FaultPoint, victim: str) -> None:
    number = str(next(_numbers))
    doctor = scene.system.person(number)
    address = f"p{number}@example.com"
    request, code = doctor.until_code(address)
    token = urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    verify = _call(
        doctor,
        "POST",
        f"/requests/{request}/verification",
        json={"code": code},
        headers={"Delivery-Token": token},
    )
    if point in OF_ENDING:
        verify()
        doctor.wait_for(request, "ready")
        store = doctor.active_store()["id"]
        act = _call(
            doctor, "POST", f"/stores/{store}/deactivation", json={"reason": "other", "confirm": True}
        )
    else:
        act = verify
    _strike(scene, point, victim, act)
    scene.cast.revive()
    _check(scene, number, doctor, request, token, repeat=act, ending=point in OF_ENDING)


def _call(doctor: Caller, method: str, path: str, **options: Any) -> Callable[[], None]:
    """The answer may be lost: what counts is what is so afterwards."""

    def call() -> None:
        with suppress(httpx.HTTPError):
            doctor.call(method, path, **options)

    return call


def _strike(scene: Scene, point: FaultPoint, victim: str, act: Callable[[], None]) -> None:
    cast, owner = scene.cast, OWNER[point]
    reached = cast.arm(point, "kill" if victim == owner else "stop")
    acting = threading.Thread(target=act)
    acting.start()
    if victim == owner:
        cast.running[owner].wait(60)
    else:
        cast.wait_until_stopped(owner)
        if victim == "worker":
            cast.kill_worker()
        elif victim == "database":
            scene.cut()
        else:
            cast.kill(victim)
        cast.resume(owner)
    acting.join(60)
    assert not acting.is_alive()
    assert reached.exists(), "the step was not reached"


def _check(
    scene: Scene,
    number: str,
    doctor: Caller,
    request: str,
    token: str,
    *,
    repeat: Callable[[], None],
    ending: bool,
) -> None:
    wait_until(lambda: not _rows(scene, number, stores.c.status == "issuing"), 60)
    if ending:
        # Pressing the button again is safe: it is done, or it was done.
        repeat()
        assert not _rows(scene, number, stores.c.status == "active")
    active = _rows(scene, number, stores.c.status == "active")
    assert len(active) <= 1
    if active:
        (told,) = doctor.call("GET", "/stores").json()["items"]
        assert (told["status"], told["delivered"]) == ("active", False)
        state = doctor.call("GET", f"/requests/{request}").json()["state"]
        assert state == "ready"
        password, keystore = doctor.fetch(request, token)
        assert password
        assert keystore
    _every_certificate_is_answered_for(scene, number)
    again = doctor.call("POST", "/requests", json={})
    assert again.status_code == 201, again.text
    # Starting anew revoked what there was.
    assert not _rows(scene, number, stores.c.status.in_(("issuing", "active")))
    _every_certificate_is_answered_for(scene, number)
    serials = [row.serial for row in _rows(scene, number, stores.c.serial.is_not(None))]
    wait_until(lambda: all(_on_crl(scene, serial) for serial in serials), 60)
    assert doctor.call("DELETE", f"/requests/{again.json()['id']}").status_code == 204


def _rows(scene: Scene, number: str, condition: sa.ColumnElement[bool]) -> list[Any]:
    with scene.registry.read() as connection:
        return list(connection.execute(sa.select(stores).where(stores.c.ehealth_id == number, condition)))


def _every_certificate_is_answered_for(scene: Scene, number: str) -> None:
    """Intent is a row; the row is an active store's, or revoked."""
    with scene.registry.read() as connection:
        prepared = connection.execute(
            sa.select(stores.c.status, certificates.c.serial, certificates.c.tbs, revocations.c.sequence)
            .join(certificates, certificates.c.serial == stores.c.serial)
            .outerjoin(revocations, revocations.c.serial == certificates.c.serial)
            .where(stores.c.ehealth_id == number)
        ).all()
        waiting = connection.execute(
            sa.select(deliveries.c.store_id)
            .join(stores, stores.c.id == deliveries.c.store_id)
            .where(stores.c.ehealth_id == number, stores.c.status != "active")
        ).all()
    assert waiting == []
    for row in prepared:
        assert row.tbs
        assert (row.status == "active") == (row.sequence is None), row


def _on_crl(scene: Scene, serial: str) -> bool:
    try:
        answer = httpx.get(f"{scene.system.status_url}/pki/crl/issuing.crl")
    except httpx.HTTPError:
        return False
    crl = x509.load_der_x509_crl(answer.content)
    return crl.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None


def test_outside_a_demonstration_faults_are_refused() -> None:
    from issuer import faults

    with pytest.raises(faults.FaultsRefused):
        faults.arm(allowed=False, environment={faults.FAULTS: "/tmp"})
    faults.arm(allowed=False, environment={})
