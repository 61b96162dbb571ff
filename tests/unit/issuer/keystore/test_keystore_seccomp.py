"""The filter itself, run by a small interpreter: for both machines, whichever this one is."""

from __future__ import annotations

import struct

import pytest

from issuer.issuance.keystore.seccomp import build_filter

KILL, ALLOW = 0x8000_0000, 0x7FFF_0000
ARCHITECTURE = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
# From the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
NUMBERS = {
    "x86_64": {
        "read": 0, "write": 1, "open": 2, "mmap": 9, "mprotect": 10, "getpid": 39, "socket": 41,
        "connect": 42, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "clone": 56, "fork": 57, "execve": 59,
        "kill": 62, "ptrace": 101, "prctl": 157, "exit_group": 231, "openat": 257, "process_vm_readv": 310,
        "getrandom": 318, "execveat": 322, "io_uring_setup": 425, "clone3": 435,
    },
    "aarch64": {
        "openat": 56, "read": 63, "write": 64, "exit_group": 94, "ptrace": 117, "kill": 129, "prctl": 167,
        "getpid": 172, "socket": 198, "connect": 203, "sendto": 206, "recvfrom": 207, "sendmsg": 211,
        "clone": 220, "execve": 221, "mmap": 222, "mprotect": 226, "process_vm_readv": 270,
        "getrandom": 278, "execveat": 281, "io_uring_setup": 425, "clone3": 435,
    },
}  # fmt: skip
ALLOWED = {"mmap", "mprotect", "getpid", "sendto", "recvfrom", "exit_group", "getrandom"}
READ, WRITE, EXECUTE = 1, 2, 4


def verdict(machine: str, number: int, third_argument: int = 0, architecture: int | None = None) -> int:
    """What the kernel would answer (Documentation/userspace-api/seccomp_filter.rst)."""
    data = struct.pack(
        "<iIQ6Q", number, architecture or ARCHITECTURE[machine], 0, 0, 0, third_argument, 0, 0, 0
    )
    program = list(struct.iter_unpack("=HBBI", build_filter(machine)))
    accumulator = position = 0
    while True:
        code, on_true, on_false, value = program[position]
        position += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, value)[0]
            case 0x15:
                position += on_true if accumulator == value else on_false
            case 0x45:
                position += on_true if accumulator & value else on_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unexpected instruction {code:#x}")


@pytest.mark.parametrize("machine", ARCHITECTURE)
def test_what_a_job_needs_is_allowed_and_nothing_else_is(machine: str) -> None:
    allowed = {name for name, number in NUMBERS[machine].items() if verdict(machine, number) == ALLOW}
    assert allowed == ALLOWED


@pytest.mark.parametrize("machine", ARCHITECTURE)
def test_fewer_than_twenty_calls_pass(machine: str) -> None:
    passing = sum(verdict(machine, number) == ALLOW for number in range(1_024))
    assert len(ALLOWED) <= passing < 20


@pytest.mark.parametrize("machine", ARCHITECTURE)
@pytest.mark.parametrize("call", ["mmap", "mprotect"])
def test_memory_is_never_executable(machine: str, call: str) -> None:
    number = NUMBERS[machine][call]
    assert verdict(machine, number, READ | WRITE) == ALLOW
    assert verdict(machine, number, READ | EXECUTE) == KILL
    # The kernel reads the protection as an int; high bits set beside it hide nothing.
    assert verdict(machine, number, (1 << 40) | EXECUTE) == KILL


def test_another_abi_of_the_same_machine_is_killed() -> None:
    """i386 numbers, and the x32 bit: both reach other calls under allowed numbers."""
    assert verdict("x86_64", 9, architecture=0x4000_0003) == KILL
    assert verdict("x86_64", 0x4000_0000 | 9) == KILL


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(OSError, match="riscv64"):
        build_filter("riscv64")
