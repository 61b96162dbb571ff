"""Code accepted → ready, over HTTP against all processes, beside the floor on the same cores.

The measured window holds what R13 to R16 are about: the verification with the right code, and the
wait until the store is ready. Everything before it (log-in, terms, address, the mailed code) is done
ahead, through the same API. What the service does because of a store and after it (its OCSP answers,
its mail) is in the window and its price, as far as it is done before the last store is ready.
"""

from __future__ import annotations

import email
import email.policy
import itertools
import os
import re
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from api.demo.idp import SimulatedProvider
from api.demo.people import Person
from api.settings import load
from issuer.clock import system_clock
from tests.bench import floor
from tests.bench.client import Connection
from tests.bench.machine import milliseconds
from tests.bench.spent import WorkerMemory, cpu_seconds, print_spent
from tests.fixtures.system import System, free_ports, start_system

CLIENTS = 32
IDLE = 400
FLOOR_SECONDS = 20.0
_people = itertools.count(3_300_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    authorization: str
    request: str
    code: str


def run(folder: Path, *, stores: int) -> None:
    for key_type, count in (("rsa-3072", stores), ("p-256", 4 * stores)):
        home = folder / key_type
        home.mkdir(mode=0o755)
        print(f"\nissuance, {key_type}")
        system = start_system(
            home, free_ports(4), MYCERT_KEYSTORE__KEY_TYPE=key_type, MYCERT_ISSUANCE__QUEUE="1000"
        )
        try:
            _measure(system, home, key_type, count)
        finally:
            system.http.close()
            system.stop()


def _measure(system: System, home: Path, key_type: str, count: int) -> None:
    codes = Codes(home / "mailbox")
    settings = load(environment=system.environment)
    provider = SimulatedProvider(settings.demo, settings.identity, home, system_clock)
    with ThreadPoolExecutor(CLIENTS, initializer=_connect, initargs=(system.port,)) as threads:

        def prepare(number: int) -> list[Prepared]:
            return list(threads.map(lambda _: _prepare(provider, codes), range(number)))

        warm = [_until_ready(one) for one in _own(system.port, prepare(4))]
        idle = [_until_ready(one) for one in _own(system.port, prepare(IDLE))]
        before = floor.measure(home, key_type, count=IDLE, seconds=FLOOR_SECONDS)
        prepared = prepare(count)
        time.sleep(1.0)  # What the preparation has caused ends before the window begins.
        with WorkerMemory(system) as memory:
            spent, began = cpu_seconds(system), time.perf_counter()
            loaded = list(threads.map(_until_ready, prepared))
            elapsed = time.perf_counter() - began
            spent = {name: seconds - spent.get(name, 0.0) for name, seconds in cpu_seconds(system).items()}
    errors = sum(1 for seconds in (*warm, *idle, *loaded) if seconds is None)
    done_idle = [seconds for seconds in idle if seconds is not None]
    done_loaded = [seconds for seconds in loaded if seconds is not None]
    # Before and after: other work on the machine comes and goes.
    least = before + floor.measure(home, key_type, count=IDLE, seconds=FLOOR_SECONDS)
    rate = len(done_loaded) / elapsed
    ratio = statistics.median(done_idle) / statistics.median(least.seconds)
    print(f"  accepted → ready, idle         {milliseconds(done_idle)}")
    print(f"  floor, one after the other     {milliseconds(least.seconds)}")
    print(f"  ratio of the medians           {ratio:.2f}")
    print(f"  accepted → ready, {CLIENTS} clients   {milliseconds(done_loaded)}")
    print(f"  throughput, {CLIENTS} clients         {rate:.1f} stores/s")
    print(f"  floor, one process a core      {least.per_second:.1f} stores/s")
    print(f"  throughput to floor            {rate / least.per_second:.2f}")
    print(f"  errors                         {errors} of {len(warm) + len(idle) + len(loaded)}")
    print_spent(spent, stores=len(done_loaded), elapsed=elapsed, least=least.cpu_seconds)
    print(f"  memory of a worker             {memory}")


class Codes:
    """The codes that the demo's mailbox received, by address; each file is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._codes: dict[str, str] = {}

    def wait_for(self, address: str) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with self._lock:
                if address not in self._codes:
                    self._read()
                if address in self._codes:
                    return self._codes[address]
            time.sleep(0.01)
        raise AssertionError(f"no code for {address}")

    def _read(self) -> None:
        for name in {entry for entry in os.listdir(self._folder) if entry.endswith(".eml")} - self._seen:
            self._seen.add(name)
            mail = email.message_from_bytes((self._folder / name).read_bytes(), policy=email.policy.default)
            if mail["X-MyCert-Event"] == "code":
                text = mail.get_body(("plain",)).get_content()
                self._codes[str(mail["To"])] = re.findall(r"\b(\d{6})\b", text)[0]


_own_connection = threading.local()


def _connect(port: int) -> None:
    _own_connection.value = Connection(port)


def _own(port: int, prepared: list[Prepared]) -> Iterator[Prepared]:
    """For calls of this thread, one after the other, on one connection."""
    _connect(port)
    yield from prepared


def _call(
    method: str, path: str, authorization: str, body: object = None, *, prefer: str = ""
) -> tuple[int, dict[str, str]]:
    connection: Connection = _own_connection.value
    return connection.call(method, f"/api/v1{path}", authorization, body, prefer=prefer)


def _prepare(provider: SimulatedProvider, codes: Codes) -> Prepared:
    number = str(next(_people))
    authorization = f"Bearer {provider.mint(Person(ehealth_id=number))}"
    status, started = _call("POST", "/requests", authorization, {})
    assert status == 201, started
    request = started["id"]
    _, terms = _call("GET", "/terms", authorization)
    status, answer = _call("PUT", f"/requests/{request}/terms", authorization, {"version": terms["version"]})
    assert status == 200, answer
    address = f"{number}@example.com"
    status, answer = _call("PUT", f"/requests/{request}/email", authorization, {"email": address})
    assert status == 200, answer
    return Prepared(authorization=authorization, request=request, code=codes.wait_for(address))


def _until_ready(prepared: Prepared) -> float | None:
    """Seconds; None for any answer that is not the one hoped for."""
    path, began = f"/requests/{prepared.request}", time.perf_counter()
    status, _ = _call("POST", f"{path}/verification", prepared.authorization, {"code": prepared.code})
    if status != 202:
        return None
    while time.perf_counter() - began < 120:
        status, found = _call("GET", path, prepared.authorization, prefer="wait=30")
        if status != 200 or found["state"] not in ("generating", "ready"):
            return None
        if found["state"] == "ready":
            return time.perf_counter() - began
    return None
