"""What somebody would try who has taken over a worker.

The template runs these in place of a job only under ``--attacks``. Each answers
``done`` where it got through, ``refused: ...`` where the kernel returned an error, and
nothing where the kernel ended it.
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import signal
import socket
import threading
from collections.abc import Callable

from issuer.issuance.keystore.confinement import Confinement

PTRACE_SEIZE = 0x4206
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.process_vm_readv.restype = ctypes.c_ssize_t


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def serve(channel: socket.socket, _: Confinement) -> None:
    name, argument = channel.recv(4_096).decode().split(" ", 1)
    try:
        if name == "execute":
            _execute(channel)
        ATTACKS[name](argument)
    except (OSError, MemoryError, ImportError, RuntimeError) as error:
        channel.send(f"refused: {type(error).__name__}: {error}".encode())
    else:
        channel.send(b"done")


def _execute(channel: socket.socket) -> None:
    """Only the new program can tell that it runs, where the channel is its standard input."""
    os.execv("/bin/sh", ["sh", "-c", f"printf done >&{channel.fileno()}"])  # noqa: S606


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _read_file(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _write_file(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"!")


def _list_folder(path: str) -> None:
    os.listdir(path)


def _connect_inet(port: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attacker:
        attacker.connect(("127.0.0.1", int(port)))


def _connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attacker:
        attacker.connect(path)


def _connect_abstract(name: str) -> None:
    _connect_unix("\0" + name)


def _fork(_: str) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _start_thread(_: str) -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def _signal_process(pid: str) -> None:
    os.kill(int(pid), signal.SIGURG)


def _trace_process(pid: str) -> None:
    _checked(_libc.ptrace(ctypes.c_long(PTRACE_SEIZE), ctypes.c_long(int(pid)), None, None))


def _read_memory(pid_and_address: str) -> None:
    pid, address = (int(number) for number in pid_and_address.split())
    buffer = ctypes.create_string_buffer(8)
    ours, theirs = _Span(ctypes.addressof(buffer), 8), _Span(address, 8)
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _checked(_libc.process_vm_readv(pid, ctypes.byref(ours), one, ctypes.byref(theirs), one, zero))


def _load_module(_: str) -> None:
    importlib.import_module("wave")


def _map_code(_: str) -> None:
    mmap.mmap(-1, 4_096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _take_memory(_: str) -> None:
    bytearray(300 * 2**20)


def _spin(_: str) -> None:
    while True:
        pass


ATTACKS: dict[str, Callable[[str], None]] = {
    "read-file": _read_file,
    "write-file": _write_file,
    "list-folder": _list_folder,
    "connect-inet": _connect_inet,
    "connect-unix": _connect_unix,
    "connect-abstract": _connect_abstract,
    "fork": _fork,
    "start-thread": _start_thread,
    "signal": _signal_process,
    "trace": _trace_process,
    "read-memory": _read_memory,
    "load-module": _load_module,
    "map-code": _map_code,
    "take-memory": _take_memory,
    "spin": _spin,
}
