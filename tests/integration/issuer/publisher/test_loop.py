"""The publisher as it runs: threads, wake-ups, one leader, failures that are repeated."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from issuer.publisher.leader import Leadership
from issuer.publisher.loop import Publisher
from issuer.registry import crls
from issuer.registry.changes import Changes
from issuer.registry.database import Database
from tests.fixtures.pki import record_certificate, revoke
from tests.fixtures.processes import wait_until
from tests.fixtures.publication import MakeSite, Site
from tests.fixtures.registries import OpenRegistry
from tests.integration.issuer.publisher.test_publication import ahead

YEAR = timedelta(days=365)


@contextmanager
def running(site: Site, database: Database | None = None) -> Iterator[Publisher]:
    publisher = Publisher(replace(site.signer, database=database or site.database), site.door)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        yield publisher
    finally:
        stop.set()
        thread.join()


def until(condition: Callable[[], object]) -> float:
    started = time.monotonic()
    wait_until(condition)
    return time.monotonic() - started


def listed(site: Site) -> set[int]:
    with site.database.read() as connection:
        current = crls.current(connection, "issuing")
        der = None if current is None else crls.read(connection, "issuing", current.number)
    return set() if der is None else {entry.serial_number for entry in x509.load_der_x509_crl(der)}


def said(site: Site, serial: int) -> ocsp.OCSPCertStatus | None:
    found = ahead(site, serial, "sha256")
    return None if found is None else found.certificate_status


def told(site: Site, serial: int) -> bool:
    return said(site, serial) is ocsp.OCSPCertStatus.REVOKED and serial in listed(site)


def test_a_revocation_is_published_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """R21. It wakes the publisher, who would not look for minutes by itself. A busy machine is slow once."""
    serials = (1, 2, 3, 4, 5)
    for serial in serials:
        record_certificate(site.database, serial, site.clock(), life=YEAR)
    took = []
    with running(site) as publisher:
        until(lambda: all(said(site, serial) is ocsp.OCSPCertStatus.GOOD for serial in serials))
        monkeypatch.setattr("issuer.publisher.loop._TICK", 600.0)
        for serial in serials:
            revoke(site.database, serial, site.clock())
            took.append(until(partial(told, site, serial)))
        assert publisher.leads
        assert publisher.failing == {}
        monkeypatch.undo()
        publisher._stop.set()
        record_certificate(site.database, 6, site.clock(), life=YEAR)  # wakes it for the last time
    assert min(took) < 1.0


def test_the_issuer_away_delays_crls_and_no_answer(make_site: MakeSite, registry: Database) -> None:
    site = make_site(registry, retry_first=0.01, retry_longest=0.05)
    record_certificate(registry, 1, site.clock(), life=YEAR)
    site.door.broken = True
    with running(site) as publisher:
        revoke(registry, 1, site.clock())
        until(lambda: said(site, 1) is ocsp.OCSPCertStatus.REVOKED)
        until(lambda: publisher.failing == {"crl": "CaUnavailable"})
        until(lambda: site.door.asked.count("crl") > 3)
        assert listed(site) == set()
        site.door.broken = False
        until(lambda: listed(site) == {1})
        until(lambda: publisher.failing == {})


def test_who_stands_by_fails_at_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it failed at before is another's to do now, and no alarm of this one."""
    site.door.broken = True
    with running(site) as publisher:
        until(lambda: "crl" in publisher.failing)
        monkeypatch.setattr(Leadership, "hold", lambda _: False)
        until(lambda: not publisher.leads and publisher.failing == {})


def test_one_leads_and_the_other_takes_over(
    make_site: MakeSite, open_registry: OpenRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.publisher.loop._TICK", 0.05)
    first, other_database = open_registry(), open_registry()
    site = make_site(first)
    record_certificate(first, 1, site.clock(), life=YEAR)
    with running(site, other_database) as second:
        until(lambda: second.leads)
        with running(site) as stand_by:
            until(lambda: said(site, 1) is not None)
            assert not stand_by.leads
        assert second.leads
    with running(site) as next_one:
        until(lambda: next_one.leads)
        revoke(first, 1, site.clock())
        until(lambda: said(site, 1) is ocsp.OCSPCertStatus.REVOKED)


def test_one_lost_connection_delays_a_revocation_by_no_long_pause(
    make_site: MakeSite, registry: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is restarted is there again long before the longest pause is over."""
    site = make_site(registry, retry_longest=600.0)
    record_certificate(registry, 1, site.clock(), life=YEAR)
    lost: list[Changes] = []
    wait = Changes.wait

    def losing(self: Changes, timeout: float) -> bool:
        if not lost:
            lost.append(self)
            raise OSError("the connection is lost")
        return wait(self, timeout)

    with running(site) as publisher:
        until(lambda: said(site, 1) is ocsp.OCSPCertStatus.GOOD)
        monkeypatch.setattr(Changes, "wait", losing)
        until(lambda: lost)
        revoke(registry, 1, site.clock())
        until(lambda: said(site, 1) is ocsp.OCSPCertStatus.REVOKED and listed(site) == {1})
        assert publisher.leads


def test_leadership_ends_with_its_process(tmp_path: Path) -> None:
    """Killed, not stopped: the lock is the kernel's."""
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    held = (
        "import sys, time\n"
        "from issuer.registry.database import Database\n"
        "from issuer.publisher.leader import Leadership\n"
        "leadership = Leadership(Database(sys.argv[1], channel='registry'))\n"
        "print(leadership.hold(), flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", held, url], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == b"True\n"
        leadership = Leadership(Database(url, channel="registry"))
        assert not leadership.hold()
        process.kill()
        process.wait()
    assert leadership.hold()
    assert leadership.hold()
    leadership.release()


def test_a_lost_database_connection_ends_leadership(postgres_database: Callable[..., str]) -> None:
    database = Database(postgres_database(), channel="registry")
    first, second = Leadership(database), Leadership(database)
    assert first.hold()
    assert not second.hold()
    with database.write() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
    with pytest.raises(Exception, match=r"terminat|closed"):
        first.hold()
    until(lambda: second.hold())
    first.release()
    second.release()
    database.close()
