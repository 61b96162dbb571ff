"""Where a process listens: TCP, or a Unix socket with the users that may speak there."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.socket_pass import write_pass

_SUN_PATH_MAX: Final = 107
WAITING: Final = 1024
"""Connections that wait to be accepted. Whoever serves a socket must name it again: asyncio would set 100."""


class SocketRefused(Exception):
    """An address cannot be served; the message says why. Raised before anything is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    path: Path
    peers: frozenset[int]
    """User ids that may speak here. Root may always: it owns the machine, and the supervisor asks here."""
    mode: int = 0o660
    pass_file: Path | None = None
    """Written when the socket opens; requests must show it (api.socket_pass)."""

    def __str__(self) -> str:
        return str(self.path)


@contextlib.contextmanager
def open_socket(address: TcpAddress | UnixAddress) -> Iterator[socket.socket]:
    """A listening socket; a Unix socket's file is removed again at the end, where it is still ours."""
    if isinstance(address, UnixAddress):
        yield from _open_unix(address)
        return
    family, kind, protocol, _, target = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Inherited by what it accepts.
        try:
            sock.bind(target)
        except OSError as error:
            raise SocketRefused(f"{address} cannot be served: {error.strerror}") from error
        sock.listen(WAITING)
        yield sock


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, by the kernel's word."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _open_unix(address: UnixAddress) -> Iterator[socket.socket]:
    """Bound under another name, given its mode, then renamed: the path never shows a socket half set up."""
    path = address.path
    if len(os.fsencode(path)) + 4 > _SUN_PATH_MAX:
        raise SocketRefused(f"{path}: longer than a Unix socket's path may be ({_SUN_PATH_MAX} bytes)")
    _refuse_unless_stale(path)
    beginning = path.with_name(path.name + ".new")
    beginning.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.bind(str(beginning))
            beginning.chmod(address.mode)
            sock.listen(WAITING)
            if address.pass_file is not None:
                write_pass(address.pass_file)
            beginning.rename(path)
        except OSError as error:
            raise SocketRefused(f"{path} cannot be served: {error.strerror}") from error
        ours = path.stat().st_ino
        try:
            yield sock
        finally:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == ours:
                    path.unlink()


def _refuse_unless_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketRefused(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return  # Nobody listens: a file left behind by a process that was killed.
    raise SocketRefused(f"{path} is being served by another process")
