"""What each process shuts behind itself at its start, and an honest report of which walls stand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from typing import Final

from api.accounts import own_account
from api.reach import Reach, ReachRefused
from issuer.issuance.keystore import landlock

SUPERVISOR: Final = "MYCERT_SUPERVISOR"
"""Environment: the supervisor's process id, for its children."""
USERS_MISSING: Final = "MYCERT_USERS_MISSING"
"""Environment: why the supervisor could not give its children users of their own."""

IN_FORCE: Final = "in force"

_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 1, 3, 4
_libc = ctypes.CDLL(None, use_errno=True)


def enter(
    process: str,
    *,
    umask: int = 0o027,
    holds_pin: bool = False,
    reach: Reach | None = None,
) -> dict[str, str]:
    """Shut what this process can shut; the first thing it does, before it reads a secret or starts a thread.

    Tells of each wall ``in force``, or ``missing: <why>``, or ``not needed: <why>``; read back from the
    kernel, not from what was asked of it.

    Only after the change of user and the exec may the parent-death signal be asked for: the kernel clears it
    at both. A process whose supervisor died before that ends itself here.
    """
    _end_with_supervisor(os.environ.pop(SUPERVISOR, None))  # Our own children are not the supervisor's.
    os.umask(umask)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Each holds something: a PIN, a person's assertion, for a moment a password. A core_pattern that pipes
    # ignores the limit above; and this closes memory and ptrace to other processes of the same user.
    _prctl(_PR_SET_DUMPABLE, 0)
    if reach is not None:
        confinement = _confine(reach)
    else:
        confinement = "not needed: holds a PIN itself" if holds_pin else "missing: not asked for"
    account = own_account(process)
    if account is not None and os.getresuid() == (account.uid,) * 3:
        users = IN_FORCE
    else:
        users = f"missing: {os.environ.get(USERS_MISSING) or f'runs as user id {os.getuid()}'}"
    core_off = resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    dumpable = _prctl(_PR_GET_DUMPABLE) != 0
    return {
        "users": users,
        "confinement": confinement,
        "dumpable": "missing: the process can be dumped" if dumpable else IN_FORCE,
        "core": IN_FORCE if core_off else "missing: core dumps are allowed",
    }


def _confine(reach: Reach) -> str:
    try:
        taken = reach.confine()
    except (ReachRefused, OSError) as error:
        return f"missing: {error}"
    if "landlock-files" not in taken:
        return "missing: the kernel has no Landlock"
    # The kernel shows a process's Landlock nowhere; that this door is shut is what can be seen of it.
    with contextlib.suppress(PermissionError):
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return "missing: Landlock was applied without effect"
    if "landlock-scope" not in taken:
        return f"{IN_FORCE} for files; missing for signals: the kernel's Landlock ABI is {landlock.abi()}"
    return IN_FORCE


def _end_with_supervisor(supervisor: str | None) -> None:
    if supervisor is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)


def _prctl(option: int, argument: int = 0) -> int:
    result: int = _libc.prctl(option, argument, 0, 0, 0)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
