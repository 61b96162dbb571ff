"""Password and file are shown to their holder and to nobody else (R17): looked for everywhere afterwards.

Each search can fail: what is known to be there is looked for with the same eyes.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from issuer.issuance.keystore.sealing import SealRefused, open_sealed
from issuer.registry.deliveries import sealing_context
from tests.fixtures.memory import both_orders, scan
from tests.fixtures.processes import children, status, wait_until
from tests.fixtures.system import Caller, System, free_ports, start_system

pytestmark = pytest.mark.slow

ADDRESS = "shown.once@example.com"
FAMILY = "KANARIENVOGEL"
PLANTED = {"canary", "name", "Python"}
KEY = ("d", "p", "q", "dP", "dQ", "qInv")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the one answer showed, and a canary that each process was given at its start."""

    system: System
    doctor: Caller
    request: str
    token: str
    password: str
    needles: dict[str, bytes]

    def pids(self) -> dict[str, int]:
        found = {"supervisor": self.system.process.pid} | self.system.processes()
        (found["template"],) = children(found["issuer"])
        return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    canary = secrets.token_hex(24)
    system = start_system(
        tmp_path_factory.mktemp("shown"),
        free_ports(4),
        MYCERT_SERVER__LOG_LEVEL="DEBUG",
        CANARY=canary,
    )
    doctor = system.person("2221217301", given_name="ROSA", family_name=FAMILY)
    request, token = doctor.until_ready(ADDRESS)
    password, keystore = doctor.fetch(request, token)
    key = load_pkcs12(keystore, password.encode()).key
    assert isinstance(key, RSAPrivateKey)
    numbers = key.private_numbers()
    parts = zip(KEY, (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp), strict=True)
    needles = {
        "password": password.encode(),
        "file": keystore[len(keystore) // 2 :][:64],
        "token": base64.urlsafe_b64decode(token + "="),
        "token as text": token.encode(),
        "canary": canary.encode(),
        "name": FAMILY.encode(),
        "Python": b"surrogateescape",
    }
    for name, number in parts:
        needles[f"{name}, big-endian"], needles[f"{name}, little-endian"] = both_orders(number)
    yield Shown(
        system=system, doctor=doctor, request=request, token=token, password=password, needles=needles
    )
    system.http.close()
    assert system.stop() == 0


def secret_of(shown: Shown) -> dict[str, bytes]:
    return {name: needle for name, needle in shown.needles.items() if name not in PLANTED}


def at_rest(home: Path, needles: dict[str, bytes]) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for name, needle in needles.items():
                for form in (needle, needle.hex().encode(), base64.b64encode(needle).rstrip(b"=")):
                    found[name] += content.count(form)
    return +found


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but root can read their memory, which is tested below")
def test_no_process_that_lives_on_holds_the_key(shown: Shown) -> None:
    told = []
    for process, pid in shown.pids().items():
        seen = scan(pid, shown.needles)
        told.append(f"{process}: {seen.bytes_read / 2**20:.0f} MiB, {dict(seen.found)}")
        # The template starts with an empty environment; that it was read shows in what every Python holds.
        assert seen.found["canary"] > 0 or process == "template", process
        assert seen.found["Python"] > 0, process
        assert seen.bytes_read > 8 * 2**20, process
        held = {name for name in seen.found if name.startswith(tuple(f"{part}," for part in KEY))}
        assert held == set(), process
        if process != "web":
            assert set(seen.found) <= PLANTED, (process, seen.found)
    sys.stdout.write("\n".join(["", *told, ""]))


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but root can read web's memory")
def test_what_web_still_holds_is_measured(shown: Shown) -> None:
    """docs/threat-model.md gives these figures: Python cannot wipe what it has read."""
    pid = shown.pids()["web"]
    secret = secret_of(shown)
    told = [f"after the answer: {dict(scan(pid, secret).found)}"]
    other = shown.system.person("2221217302", given_name="PAUL", family_name="WEIS")
    for calls in (10, 100):
        for _ in range(calls):
            assert other.call("GET", "/stores").status_code == 200
        told.append(f"after {calls} more calls of others: {dict(scan(pid, secret).found)}")
    sys.stdout.write("\n".join(["", *told, ""]))
    # The keystore is sealed by its password, so that no count here is a key.
    assert scan(pid, secret).found.keys() <= {"password", "file", "token", "token as text"}


def test_a_planted_canary_is_found(shown: Shown) -> None:
    """In memory above; here in a file, in each of the forms that are looked for."""
    planted = shown.system.home / "log" / "planted"
    for form in (bytes, lambda needle: needle.hex().encode(), base64.b64encode):
        planted.write_bytes(b"before" + form(shown.needles["password"]) + b"after")
        assert at_rest(shown.system.home, {"password": shown.needles["password"]}) == {"password": 1}
    planted.unlink()


def test_nothing_at_rest_shows_or_opens_it(shown: Shown) -> None:
    """Database, WAL, logs at DEBUG, audit trail, mailbox, tokens: while the sealed delivery still exists."""
    files = {path.name for path in shown.system.home.rglob("*") if path.is_file()}
    assert {"registry.db", "registry.db-wal", "journey.db", "web.log", "issuer.log"} <= files
    assert any(name.endswith(".eml") for name in files)
    assert at_rest(shown.system.home, {"name": shown.needles["name"]}) != {}
    assert at_rest(shown.system.home, secret_of(shown)) == {}
    registry = sqlite3.connect(shown.system.home / "data" / "registry" / "registry.db")
    (store, sealed), *_ = registry.execute("SELECT store_id, sealed_password FROM deliveries").fetchall()
    context = sealing_context(shown.request, store)
    token = base64.urlsafe_b64decode(shown.token + "=")
    assert open_sealed(token, sealed, part="password", context=context).decode() == shown.password
    for file in shown.system.home.rglob("secrets/*"):
        for key in (file.read_bytes()[:32], bytes.fromhex(_hex(file.read_text()))[:32]):
            with pytest.raises(SealRefused):
                open_sealed(key.ljust(32, b"\0"), sealed, part="password", context=context)


def _hex(text: str) -> str:
    digits = "".join(c for c in text if c in "0123456789abcdef")
    return digits[: len(digits) // 2 * 2]


def test_a_crash_leaves_no_core(shown: Shown) -> None:
    """The kernel is asked for one of each: SIGABRT's default is a core."""
    for process in ("web", "issuer"):
        pid = shown.pids()[process]
        limit = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core" in line)
        assert limit.split()[4:6] == ["0", "0"]
        os.kill(pid, signal.SIGABRT)
        wait_until(lambda pid=pid: not status(pid))  # type: ignore[misc]
        wait_until(lambda: {"web", "issuer"} <= shown.system.processes().keys(), 60)
    assert [path for path in shown.system.home.rglob("core*") if path.is_file()] == []
    wait_until(lambda: _ready(shown.system), 60)


def _ready(system: System) -> bool:
    try:
        return system.http.get("/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def test_after_completion_the_sealed_parts_are_gone_too(shown: Shown) -> None:
    assert shown.doctor.call("POST", f"/requests/{shown.request}/completion").status_code == 200
    registry = sqlite3.connect(shown.system.home / "data" / "registry" / "registry.db")
    assert registry.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
    assert at_rest(shown.system.home, secret_of(shown)) == {}
