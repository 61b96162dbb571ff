"""Let the system users reach a checkout or home below a closed folder (mode 0700), for our processes only.

In a mount namespace of the supervisor's own, a closed folder on the way is covered by an empty one that may
be passed, and only what is needed from it is put back at the same path. Outside nothing changes, no path is
rewritten, and the closed folder's other contents are hidden from our processes. What is created directly in a
covered folder from now on stays on its own side; everything below what was put back is shared as before.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


class UsersMissing(Exception):
    """Processes cannot run as users of their own; the message says why, and is shown to the operator."""


def closed_folders(targets: Sequence[Path]) -> dict[Path, set[str]]:
    """Folders on the way that others may not pass, each with the entries that are needed from it.

    Symbolic links are followed by hand, because the folder of each link must be passed too.
    """
    closed: dict[Path, set[str]] = {}
    pending = [target.absolute() for target in targets]
    seen: set[Path] = set()
    while pending:
        target = pending.pop()
        here = Path("/")
        for position, part in enumerate(target.parts[1:], start=1):
            if part == "..":
                here = here.parent
                continue
            if not here.stat().st_mode & stat.S_IXOTH:
                closed.setdefault(here, set()).add(part)
            entry = here / part
            if entry.is_symlink():
                rest = target.parts[position + 1 :]
                followed = here.joinpath(entry.readlink(), *rest)
                if followed not in seen:
                    seen.add(followed)
                    pending.append(followed)
                break
            here = entry
        else:
            if here.is_dir() and not here.stat().st_mode & stat.S_IXOTH:
                closed.setdefault(here, set()).update(os.listdir(here))
    return closed


def open_the_way(closed: dict[Path, set[str]], check: Callable[[], None]) -> None:
    """Enter a mount namespace of our own and make the closed folders passable there.

    Must run before the process has other threads: a namespace belongs to a thread, and only a process of one
    can go back. Raises :class:`UsersMissing`, also where ``check`` does, from the namespace it came from.
    """
    if Path("/") in closed:
        raise UsersMissing("the root folder may not be passed by others")
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    cwd = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        _call("unshare", _CLONE_NEWNS)
        try:
            _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
            for folder in sorted(closed):  # Outer ones first: the inner are put back with them.
                _cover(folder, sorted(closed[folder]))
            check()
        except (OSError, UsersMissing):
            _call("setns", before, _CLONE_NEWNS)
            raise
        finally:
            os.fchdir(cwd)
    except OSError as error:
        raise UsersMissing(f"mounts are not permitted here: {error.strerror}") from error
    finally:
        os.close(before)
        os.close(cwd)


def _cover(folder: Path, entries: Sequence[str]) -> None:
    kept = {name: os.open(folder / name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) for name in entries}
    try:
        _mount(b"mycert", os.fsencode(folder), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=1m")
        for name, descriptor in kept.items():
            place = folder / name
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISLNK(mode):
                place.symlink_to(os.readlink("", dir_fd=descriptor))
                continue
            if stat.S_ISDIR(mode):
                place.mkdir()
            else:
                place.touch()
            source = f"/proc/self/fd/{descriptor}".encode()
            _mount(source, os.fsencode(place), None, _MS_BIND | _MS_REC, None)
    finally:
        for descriptor in kept.values():
            os.close(descriptor)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
    if _libc.mount(source, target, kind, ctypes.c_ulong(flags), data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fsdecode(target))


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
