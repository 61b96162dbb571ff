"""Code accepted → ready, over HTTP against all processes, beside the floor on the same cores."""

from __future__ import annotations

import itertools
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench import floor
from tests.bench.machine import milliseconds
from tests.fixtures.system import Caller, System, free_ports, start_system

CLIENTS = 32
IDLE = 30
_people = itertools.count(3_300_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    caller: Caller
    request: str
    code: str


def run(folder: Path, *, stores: int) -> None:
    for key_type in ("rsa-3072", "p-256"):
        home = folder / key_type
        home.mkdir(mode=0o755)
        print(f"\nissuance, {key_type}")
        system = start_system(
            home, free_ports(4), MYCERT_KEYSTORE__KEY_TYPE=key_type, MYCERT_ISSUANCE__QUEUE="1000"
        )
        try:
            _measure(system, home, key_type, stores)
        finally:
            system.http.close()
            system.stop()


def _measure(system: System, home: Path, key_type: str, stores: int) -> None:
    idle = [_until_ready(_prepare(system)) for _ in range(IDLE)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        prepared = list(threads.map(lambda _: _prepare(system), range(stores)))
        began = time.perf_counter()
        loaded = list(threads.map(_until_ready, prepared))
        elapsed = time.perf_counter() - began
    errors = sum(1 for seconds in [*idle, *loaded] if seconds is None)
    done_idle = [seconds for seconds in idle if seconds is not None]
    done_loaded = [seconds for seconds in loaded if seconds is not None]
    least = floor.measure(home, key_type, count=IDLE, seconds=8.0)
    rate = len(done_loaded) / elapsed
    ratio = statistics.median(done_idle) / statistics.median(least.seconds)
    print(f"  accepted → ready, idle         {milliseconds(done_idle)}")
    print(f"  floor, one after the other     {milliseconds(least.seconds)}")
    print(f"  ratio of the medians           {ratio:.2f}")
    print(f"  accepted → ready, {CLIENTS} clients   {milliseconds(done_loaded)}")
    print(f"  throughput, {CLIENTS} clients         {rate:.1f} stores/s")
    print(f"  floor, one process a core      {least.per_second:.1f} stores/s")
    print(f"  throughput to floor            {rate / least.per_second:.2f}")
    print(f"  errors                         {errors} of {len(idle) + len(loaded)}")


def _prepare(system: System) -> Prepared:
    number = str(next(_people))
    caller = system.person(number)
    request, code = caller.until_code(f"{number}@example.com")
    return Prepared(caller=caller, request=request, code=code)


def _until_ready(prepared: Prepared) -> float | None:
    """Seconds; None for any answer that is not the one hoped for."""
    caller, path = prepared.caller, f"/requests/{prepared.request}"
    began = time.perf_counter()
    verified = caller.call("POST", f"{path}/verification", json={"code": prepared.code})
    if verified.status_code != 202:
        return None
    while time.perf_counter() - began < 120:
        found = caller.call("GET", path, headers={"Prefer": "wait=30"})
        if found.status_code != 200:
            return None
        state = found.json()["state"]
        if state == "ready":
            return time.perf_counter() - began
        if state != "generating":
            return None
        time.sleep(0.005)
    return None
