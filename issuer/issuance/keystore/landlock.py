"""Landlock (Linux ≥ 5.13): a process gives up files, TCP and signals for good.

Two uses: a keystore worker gives up everything; web and status processes that run as
the same user as the rest keep their own folders (``restrict_paths``).
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from issuer.issuance.keystore.kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall

LandlockMeasure = Literal["landlock-files", "landlock-network", "landlock-scope"]

# One number on every architecture: system calls after 423 share a table.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446

# Rights on files, by the ABI that brought them (linux/landlock.h).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ABI_1 = (1 << 13) - 1
_REFER = 1 << 13
_READ = _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1 << 0, 1 << 1


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    # The kernel's is packed to 12 bytes; it reads no further, so the padding behind does no harm.
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock ABI; 0 where it has none or it is switched off at boot."""
    try:
        return syscall("landlock_create_ruleset", _CREATE_RULESET, 0, 0, 1)
    except OSError:
        return 0


def deny_all() -> frozenset[LandlockMeasure]:
    """Give up every file, TCP and signals to anyone outside. Returns what the kernel could do."""
    return _restrict([], network=True)


def restrict_paths(*, read: Iterable[Path], write: Iterable[Path]) -> frozenset[LandlockMeasure]:
    """Keep only these folders and files (``write`` includes reading), and signal nobody outside.

    Nothing may be executed. TCP stays open, and so do Unix sockets with a path: Landlock
    does not watch over connecting to them (docs/adr/0010). Call it before any thread
    starts: Landlock binds the calling thread and those it starts later. Already open files
    stay open. Raises OSError for a path that is not there, RuntimeError where threads run
    already; returns the measures in force.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("Landlock must be set before the first thread starts")
    handled = _handled(abi())
    rules = [(path, _READ) for path in read] + [(path, handled & ~_EXECUTE) for path in write]
    return _restrict(rules, network=False)


def _handled(version: int) -> int:
    return (
        _ABI_1
        | (_REFER if version >= 2 else 0)
        | (_TRUNCATE if version >= 3 else 0)
        | (_IOCTL_DEV if version >= 5 else 0)
    )


def _restrict(rules: list[tuple[Path, int]], *, network: bool) -> frozenset[LandlockMeasure]:
    version = abi()
    if version == 0:
        return frozenset()
    in_force: set[LandlockMeasure] = {"landlock-files"}
    attributes = _RulesetAttributes(fs=_handled(version))
    if network and version >= 4:
        attributes.net = _BIND_TCP | _CONNECT_TCP
        in_force.add("landlock-network")
    if version >= 6:
        attributes.scoped = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL
        in_force.add("landlock-scope")
    # An older kernel refuses a structure longer than the one it knows.
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = syscall("landlock_create_ruleset", _CREATE_RULESET, ctypes.addressof(attributes), size, 0)
    try:
        for path, allowed in rules:
            _allow(ruleset, path, allowed & attributes.fs)
        # Landlock asks for it of whoever is not root; it is wanted in any case.
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return frozenset(in_force)


def _allow(ruleset: int, path: Path, allowed: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            allowed &= _ON_FILES
        rule = _PathBeneath(allowed=allowed, parent=parent)
        syscall("landlock_add_rule", _ADD_RULE, ruleset, 1, ctypes.addressof(rule), 0)
    finally:
        os.close(parent)
