"""Files that are whole or not there, whatever dies meanwhile."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, content: bytes, *, replace: bool, mode: int = 0o644) -> None:
    """On disk when this returns, with ``mode`` whatever the umask. Raises FileExistsError unless ``replace``.

    A crash leaves at most a file ``.<name>.new`` behind, which the next attempt removes.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    if replace:
        fresh.replace(path)
    else:
        try:
            # A link fails where the name is taken; a rename would overwrite.
            os.link(fresh, path)
        finally:
            fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
