"""Raw system calls: the few that Python has no name for."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *arguments: int) -> int:
    """Raises OSError. A pointer is passed as ``ctypes.addressof``, its owner kept by the caller."""
    # Variadic C: every argument must be widened by hand.
    return _checked(_libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)), name)


def prctl(option: int, first: int, second: int = 0) -> None:
    # The kernel refuses some options unless the unused arguments are zero.
    rest = [ctypes.c_ulong(value) for value in (first, second, 0, 0)]
    _checked(_libc.prctl(ctypes.c_int(option), *rest), f"prctl {option}")


def set_process_name(name: str) -> None:
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def lock_memory() -> None:
    """Lock what is mapped and what will be, each page as it is touched.

    MCL_ONFAULT spares the price of touching every page of every library now (1 ms
    instead of 10).
    """
    current, future, on_fault = 1, 2, 4
    _checked(_libc.mlockall(ctypes.c_int(current | future | on_fault)), "mlockall")
