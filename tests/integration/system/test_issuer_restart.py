"""The issuer is killed in the middle of things, as it runs: nobody is left with half a store (R14)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.system import PATIENCE, Caller, System, free_ports, start_system

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    # RSA-4096 takes long enough to be interrupted.
    running = start_system(
        tmp_path_factory.mktemp("restarts"), free_ports(4), MYCERT_KEYSTORE__KEY_TYPE="rsa-4096"
    )
    yield running
    running.http.close()
    running.stop()


def issuer_of(system: System) -> int:
    """The process that the supervisor started as issuer; what it forks itself is not it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == system.process.pid and b"issuer" in words:
            return int(folder.name)
    raise AssertionError("no issuer")


def kill_issuer(system: System) -> None:
    old = issuer_of(system)
    os.kill(old, signal.SIGKILL)
    until_ready(system, old)


def until_ready(system: System, old: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if issuer_of(system) != old and system.http.get("/health/ready").status_code == 200:
                return
        except AssertionError:
            pass
        assert time.monotonic() < deadline, "the issuer does not come back"
        time.sleep(0.05)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.3])
def test_a_generation_that_was_killed_leaves_nothing_and_the_next_start_works(
    own_system: System, moment: float
) -> None:
    number = f"22212190{int(moment * 100):02d}"
    doctor = own_system.person(number)
    address = f"{number}@example.com"
    request, code = doctor.until_code(address)
    verified = doctor.call("POST", f"/requests/{request}/verification", json={"code": code})
    assert verified.status_code == 202, verified.text
    time.sleep(moment)
    kill_issuer(own_system)
    state = settled(doctor, request)
    stores = doctor.call("GET", "/stores").json()["items"]
    if state == "ready":  # It was quicker than the signal.
        assert [store["status"] for store in stores] == ["active"]
    else:
        assert state == "failed"
        assert [store["status"] for store in stores] == ["revoked"]
    password, keystore = doctor.obtain(address)
    assert password
    assert keystore
    assert doctor.active_store()["delivered"]


def settled(doctor: Caller, request: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while (state := doctor.call("GET", f"/requests/{request}").json()["state"]) == "generating":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return str(state)


def test_while_the_issuer_is_away_people_are_told_so_and_keep_their_code(own_system: System) -> None:
    doctor = own_system.person("2221219100")
    request, code = doctor.until_code("away@example.com")
    old = issuer_of(own_system)
    os.kill(old, signal.SIGKILL)
    answer = doctor.call("POST", f"/requests/{request}/verification", json={"code": code})
    if answer.status_code != 202:  # Else the supervisor was quicker.
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == "ca-unavailable"
        assert answer.headers["Retry-After"]
    until_ready(own_system, old)
    shown = doctor.call("GET", f"/requests/{request}").json()
    if shown["state"] == "code-sent":
        assert shown["attempts_left"] == 5
        answer = doctor.call("POST", f"/requests/{request}/verification", json={"code": code})
        assert answer.status_code == 202, answer.text
        doctor.wait_for(request, "ready")
