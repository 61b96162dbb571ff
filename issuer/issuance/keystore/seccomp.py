"""The system calls a worker may make once it is confined; any other kills it.

The list is what a job was seen to need (strace), plus what the C library uses for the
same ends elsewhere. Not on it: anything that opens, names, maps as code, connects,
starts or signals. Classic BPF by hand, because the filter is one straight list
(docs/adr/0003).
"""

from __future__ import annotations

import ctypes
import platform
import struct

from issuer.issuance.keystore.kernel import PR_SET_SECCOMP, prctl

_MODE_FILTER = 2
_KILL_PROCESS = 0x8000_0000
_ALLOW = 0x7FFF_0000

# struct seccomp_data: the call's number, the architecture, then the arguments.
_NUMBER, _ARCHITECTURE, _THIRD_ARGUMENT = 0, 4, 32
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06

_PROT_EXEC = 4

# machine: (AUDIT_ARCH, {call: number})
_TABLES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000_003E,
        {
            "mmap": 9,
            "mprotect": 10,
            "munmap": 11,
            "brk": 12,
            "rt_sigreturn": 15,
            "mremap": 25,
            "madvise": 28,
            "getpid": 39,
            "sendto": 44,
            "recvfrom": 45,
            "gettid": 186,
            "futex": 202,
            "restart_syscall": 219,
            "clock_gettime": 228,
            "exit_group": 231,
            "getrandom": 318,
        },
    ),
    "aarch64": (
        0xC000_00B7,
        {
            "exit_group": 94,
            "futex": 98,
            "clock_gettime": 113,
            "restart_syscall": 128,
            "rt_sigreturn": 139,
            "getpid": 172,
            "gettid": 178,
            "sendto": 206,
            "recvfrom": 207,
            "brk": 214,
            "munmap": 215,
            "mremap": 216,
            "mmap": 222,
            "mprotect": 226,
            "madvise": 233,
            "getrandom": 278,
        },
    ),
}
# Memory may be had, but never as code: no PROT_EXEC in the third argument.
_NEVER_EXECUTABLE = frozenset({"mmap", "mprotect"})


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def build_filter(machine: str) -> bytes:
    """The program as an array of ``struct sock_filter``. Raises OSError for an unknown machine."""
    if machine not in _TABLES:
        raise OSError(f"no system call table for {machine}")
    architecture, calls = _TABLES[machine]
    program = [
        _step(_LOAD, _ARCHITECTURE),
        # Another ABI of the same machine has other numbers for the same calls.
        _step(_EQUAL, architecture, on_true=1),
        _step(_RETURN, _KILL_PROCESS),
        _step(_LOAD, _NUMBER),
    ]
    for name, number in calls.items():
        if name in _NEVER_EXECUTABLE:
            program += [
                _step(_EQUAL, number, on_false=4),
                _step(_LOAD, _THIRD_ARGUMENT),
                _step(_ANY_BIT, _PROT_EXEC, on_true=1),
                _step(_RETURN, _ALLOW),
                _step(_RETURN, _KILL_PROCESS),
            ]
        else:
            program += [_step(_EQUAL, number, on_false=1), _step(_RETURN, _ALLOW)]
    program.append(_step(_RETURN, _KILL_PROCESS))
    return b"".join(program)


def allow_only_listed() -> None:
    """Install the filter: irrevocable. The caller has set no-new-privs. Raises OSError."""
    code = build_filter(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(length=len(code) // 8, filter=ctypes.addressof(buffer))
    prctl(PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program))


def _step(code: int, value: int, *, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, on_true, on_false, value)
