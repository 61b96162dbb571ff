"""Where the processors' time goes during a measurement, process by process, and what a worker's memory is."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fixtures.processes import children, status
from tests.fixtures.system import System

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(system: System) -> dict[str, float]:
    """Of each process since it started; of the template those of its ended workers apart."""
    found = {"this bench's clients": time.process_time()}
    for name, pid in system.processes().items():
        found[name] = sum(_times(pid)[:2])
        if name == "issuer":
            for template in children(pid):
                times = _times(template)
                found["keystore template"], found["keystore workers"] = sum(times[:2]), sum(times[2:])
    return found


def print_spent(spent: dict[str, float], *, stores: int, elapsed: float, least: float) -> None:
    cores = len(os.sched_getaffinity(0))
    print(f"  of the processors' time, {sum(spent.values()) / elapsed / cores:.0%} used; for a store, in ms:")
    for name, seconds in sorted(spent.items(), key=lambda entry: -entry[1]):
        print(f"    {name:26} {seconds / stores * 1e3:7.2f}")
    print(f"    {'in all':26} {sum(spent.values()) / stores * 1e3:7.2f}")
    share = least * stores / sum(spent.values())
    print(f"    {'the floor alone':26} {least * 1e3:7.2f}, {share:.2f} of it")


def _times(pid: int) -> list[float]:
    """User, system, and both of the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(ticks) / _TICKS for ticks in fields[11:15]]


class WorkerMemory:
    """Looks at the template's children while it is entered."""

    def __init__(self, system: System) -> None:
        (self._template,) = children(system.processes()["issuer"])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._resident = self._own = self._left = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._left = len(self._workers())

    def __str__(self) -> str:
        template = status(self._template)
        shared, own = (_kib(template, name) / 1024 for name in ("VmRSS", "RssAnon"))
        return (
            f"peak {self._resident / 1024:.1f} MiB resident, {self._own / 1024:.1f} MiB of it not of files "
            f"(the template: {shared:.1f} and {own:.1f}); left afterwards: {self._left} workers"
        )

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for worker in self._workers():
                found = status(worker)
                self._resident = max(self._resident, _kib(found, "VmHWM"))
                self._own = max(self._own, _kib(found, "RssAnon"))

    def _workers(self) -> list[int]:
        listed = Path(f"/proc/{self._template}/task/{self._template}/children").read_text()
        return [int(pid) for pid in listed.split()]


def _kib(fields: dict[str, str], name: str) -> int:
    return int(fields.get(name, "0 kB").split()[0])
