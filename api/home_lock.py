"""One supervisor a home, and none before the last process of an earlier one has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunning(Exception):
    """Another supervisor serves this home."""


@contextlib.contextmanager
def hold_home(path: Path, *, wait: float) -> Iterator[int]:
    """Two locks on one file: a record lock, which is this process's alone and says that a supervisor lives,
    and a flock, which children inherit and which is free only when the last of them has ended.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise AlreadyRunning(f"{path.parent.parent} is already served by process {owner}") from None
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise AlreadyRunning(
                        f"processes of an earlier run still hold {path.parent.parent}"
                    ) from None
                time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
