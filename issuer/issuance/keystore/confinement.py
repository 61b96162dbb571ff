"""What a worker gives up before it makes a key, and what this machine could not take from it."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from typing import Literal

import msgspec

from issuer.issuance.keystore import landlock
from issuer.issuance.keystore.kernel import (
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    lock_memory,
    prctl,
)
from issuer.issuance.keystore.seccomp import allow_only_listed

Measure = Literal[
    "dies-with-parent",
    "no-new-privs",
    "not-dumpable",
    "no-core",
    "deadline",
    "memory-lock",
    "landlock-files",
    "landlock-network",
    "landlock-scope",
    "limits",
    "seccomp",
]
_LANDLOCK: tuple[landlock.LandlockMeasure, ...] = ("landlock-files", "landlock-network", "landlock-scope")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    wall_seconds: float
    memory_bytes: int
    allow_missing: tuple[Measure, ...]


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """The report for the start-up line and the health page."""

    in_force: tuple[Measure, ...]
    missing: dict[Measure, str]

    def unmet(self, allowed: tuple[Measure, ...]) -> dict[Measure, str]:
        return {measure: why for measure, why in self.missing.items() if measure not in allowed}

    def __str__(self) -> str:
        missing = "; ".join(f"{measure} ({why})" for measure, why in self.missing.items())
        return f"in force: {', '.join(self.in_force)}; missing: {missing or 'nothing'}"


def confine(limits: Limits, parent: int) -> Confinement:
    """Irrevocable, for the calling process, which has one thread. Each failure is in the report.

    The order matters: Landlock needs a file descriptor for a moment, which ``limits``
    would refuse, and seccomp ends all that is not the job itself.
    """
    in_force: list[Measure] = []
    missing: dict[Measure, str] = {}

    def take(measure: Measure, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, ValueError) as error:
            missing[measure] = str(error)
        else:
            in_force.append(measure)

    take("dies-with-parent", lambda: die_with(parent))
    take("no-new-privs", lambda: prctl(PR_SET_NO_NEW_PRIVS, 1))
    # Also closes /proc/<pid>/mem and ptrace to other processes of the same user, and is
    # what keeps a core away from a core_pattern that pipes: those ignore RLIMIT_CORE.
    take("not-dumpable", lambda: prctl(PR_SET_DUMPABLE, 0))
    take("no-core", lambda: _limit(resource.RLIMIT_CORE, 0))
    take("deadline", lambda: _set_deadline(limits.wall_seconds))
    take("memory-lock", lock_memory)
    taken = landlock.deny_all()
    for measure in _LANDLOCK:
        if measure in taken:
            in_force.append(measure)
        else:
            missing[measure] = f"the kernel's Landlock ABI is {landlock.abi()}"
    take("limits", lambda: _set_limits(limits))
    take("seccomp", allow_only_listed)
    return Confinement(in_force=tuple(in_force), missing=missing)


def guard_template(parent: int) -> None:
    """What the template, which holds no secret, gives up: enough that nobody of its user can alter it.

    Raises OSError.
    """
    die_with(parent)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def die_with(parent: int) -> None:
    """Be killed when the thread that started this process ends. Raises OSError if it has ended already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent has ended")


def _set_deadline(seconds: float) -> None:
    # The default action ends the process without a line of Python. A mask or a handler
    # may have come with the exec, from whoever started the issuer.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _set_limits(limits: Limits) -> None:
    _limit(resource.RLIMIT_CPU, int(limits.wall_seconds) + 1)
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 0)


def _limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, value))
