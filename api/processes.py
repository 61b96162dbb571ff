"""The supervisor behind ``mycert serve``: starts every process, keeps it alive, ends them all together.

It owns no secret and serves nothing. Its children stay in its session and process group, and end with it
however it ends: each asks the kernel for that (``api.walls.enter``), and each holds the home's lock as long
as it lives, so that a next supervisor waits for the last of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from api.accounts import Account
from api.addresses import TcpAddress, UnixAddress
from api.logs import get_logger
from api.walls import SUPERVISOR, USERS_MISSING

_UMASK: Final = 0o027
_log = get_logger()


class ServeRefused(Exception):
    """Another supervisor serves this home, or a process did not come up; what ran has been stopped again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """A GET that answers 200 once the process serves."""

    address: TcpAddress | UnixAddress
    path: str = "/health/live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    name: str
    argv: tuple[str, ...]
    account: Account | None = None
    """The system user it runs as; None keeps the supervisor's own."""
    ready: Readiness | None = None
    """None: it is ready as soon as it runs."""
    environment: Mapping[str, str] = field(default_factory=dict)
    ends: int = 0
    """At the end those of a lower number go first, for they ask the others; equals go together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """All in seconds."""

    start: float = 60.0
    next_stop: float = 4.0
    """After SIGTERM, before those that come after are told as well: web ends before the issuer it asks."""
    same: float = 2.0
    """Signals that are less apart are one: `make` passes on what its whole process group got."""
    stop: float = 15.0
    """For all together, then SIGKILL."""
    first_restart: float = 0.25
    longest_restart: float = 30.0
    stable: float = 60.0
    """A process that lived this long starts its back-off anew."""
    previous_run: float = 20.0


class _Child:
    def __init__(self, spec: Process) -> None:
        self.spec = spec
        self.restarts = 0
        self.popen: subprocess.Popen[bytes] | None = None
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended.set_result(0)

    @property
    def pid(self) -> int:
        return self.popen.pid if self.popen else 0

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    def signal(self, number: int) -> None:
        if self.popen is not None and self.alive:
            self.popen.send_signal(number)


@dataclass(kw_only=True, eq=False)
class Supervisor:
    """``run`` returns after SIGTERM or SIGINT ended everything; a later signal ends it at once."""

    processes: Sequence[Process]
    home: Path
    lock: Path
    log_path: Callable[[str], Path]
    say_aloud: Callable[[str], None]
    on_ready: Callable[[], None]
    users_missing: str | None = None
    patience: Patience = Patience()

    def run(self) -> None:
        """Raises ServeRefused, with nothing left behind."""
        with hold_home(self.lock, wait=self.patience.previous_run) as self._lock_fd:
            asyncio.run(self._supervise())

    async def _supervise(self) -> None:
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._stopped_at = 0.0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        children: list[_Child] = []
        keepers: list[asyncio.Task[None]] = []
        try:
            # All at once: none needs another to start, and who finds another silent asks again.
            for spec in self.processes:
                child = _Child(spec)
                children.append(child)
                self._spawn(child)
            for child in children:
                await self._come_up(child)
                if self._stop.is_set():
                    return
                keepers.append(asyncio.create_task(self._keep(child)))
            with contextlib.suppress(OSError):
                self.on_ready()
            await self._stop.wait()
        finally:
            self._stop.set()
            for keeper in keepers:
                keeper.cancel()
            await self._stop_all(children)

    def _say(self, text: str) -> None:
        # Where nobody reads any more, or the disk is full, the processes are kept alive all the same.
        with contextlib.suppress(OSError):
            self.say_aloud(text)

    def _asked_to_stop(self) -> None:
        now = time.monotonic()
        if not self._stop.is_set():
            self._stopped_at = now
            self._stop.set()
        elif now - self._stopped_at >= self.patience.same:
            self._force.set()

    def _spawn(self, child: _Child) -> None:
        spec, account = child.spec, child.spec.account
        env = dict(os.environ)
        if "PYTHONPATH" in env:  # It may be relative, and the child starts elsewhere.
            env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
        env |= {SUPERVISOR: str(os.getpid()), **spec.environment}
        if self.users_missing is not None:
            env[USERS_MISSING] = self.users_missing
        if account is not None:
            env |= {"HOME": str(self.home), "USER": account.name, "LOGNAME": account.name}
        # Ctrl-C reaches the whole process group, but the order of ending is ours: the signal stays blocked in
        # the children. Blocking it around the fork loses none; a disposition would have to be set after it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with open_log(self.log_path(spec.name)) as output:
                child.popen = subprocess.Popen(
                    spec.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=env,
                    cwd=self.home,
                    umask=_UMASK,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=account.groups if account else None,
                    pass_fds=(self._lock_fd,),
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child.ended = _end_of(child.popen)
        _log.info("started", child=spec.name, pid=child.pid, restarts=child.restarts)

    async def _come_up(self, child: _Child) -> None:
        """Raises ServeRefused unless it serves in time; returns early when asked to stop."""
        spec = child.spec
        ready = asyncio.create_task(_until_ready(spec.ready))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                (ready, stop, child.ended),
                timeout=self.patience.start,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._stop.is_set():
                return
            where = f"see {self.log_path(spec.name)}"
            if not child.alive:
                raise ServeRefused(f"{spec.name} ended at its start ({_how(child.ended.result())}); {where}")
            if not ready.done():
                raise ServeRefused(f"{spec.name} did not answer within {self.patience.start:g} s; {where}")
        finally:
            ready.cancel()
            stop.cancel()
        user = f", user {spec.account.name}" if spec.account else ""
        self._say(f"{spec.name}: up (process {child.pid}{user})")

    async def _keep(self, child: _Child) -> None:
        name, patience, failures = child.spec.name, self.patience, 0
        while True:
            started = time.monotonic()
            code = await asyncio.shield(child.ended)
            failures = 1 if time.monotonic() - started > patience.stable else failures + 1
            child.restarts += 1
            delay = min(patience.longest_restart, patience.first_restart * 2 ** min(failures - 1, 16))
            self._say(f"{name}: ended ({_how(code)}); starting it again in {delay:.1f} s")
            _log.warning("ended", child=name, how=_how(code), restarts=child.restarts, delay=delay)
            await asyncio.sleep(delay)
            try:
                self._spawn(child)
                await self._come_up(child)
            except ServeRefused as error:
                _log.warning("restart failed", child=name, cause=error)
                child.signal(signal.SIGKILL)
            except OSError as error:  # No process, no memory: the next round tries again.
                _log.error("restart failed", child=name, cause=error)

    async def _stop_all(self, children: Sequence[_Child]) -> None:
        deadline = time.monotonic() + self.patience.stop
        force = asyncio.create_task(self._force.wait())
        for turn in sorted({child.spec.ends for child in children}):
            told = [child for child in children if child.spec.ends == turn]
            for child in told:
                child.signal(signal.SIGTERM)
            await self._wait_for(told, force, min(self.patience.next_stop, deadline - time.monotonic()))
        await self._wait_for(children, force, deadline - time.monotonic())
        force.cancel()
        for child in children:
            if child.alive:
                _log.warning("killed", child=child.spec.name)
                self._say(f"{child.spec.name}: did not end and was killed")
                child.signal(signal.SIGKILL)
        await asyncio.gather(*(child.ended for child in children))
        self._say("stopped")

    @staticmethod
    async def _wait_for(children: Sequence[_Child], force: asyncio.Task[bool], seconds: float) -> None:
        """For the end of all of them, unless it is forced before."""
        ended = asyncio.gather(*(asyncio.shield(child.ended) for child in children))
        await asyncio.wait((ended, force), timeout=max(0.0, seconds), return_when="FIRST_COMPLETED")


async def _until_ready(ready: Readiness | None) -> None:
    while ready is not None:
        if await _answers(ready):
            return
        await asyncio.sleep(0.05)


async def _answers(ready: Readiness) -> bool:
    try:
        async with asyncio.timeout(2):
            if isinstance(ready.address, UnixAddress):
                reader, writer = await asyncio.open_unix_connection(str(ready.address.path))
            else:
                reader, writer = await asyncio.open_connection(ready.address.host, ready.address.port)
            with contextlib.closing(writer):
                writer.write(
                    f"GET {ready.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    except (OSError, TimeoutError):
        return False


def _end_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """A future of the exit status, through a pidfd: no thread, no SIGCHLD handler."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    descriptor = os.pidfd_open(process.pid)

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        status = process.wait()
        if not ended.done():
            ended.set_result(status)

    loop.add_reader(descriptor, reap)
    return ended


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def open_log(path: Path) -> TextIO:
    """For appending, through no link. Whoever rotates it copies and truncates, for nobody opens it again."""
    return open(path, "a", encoding="utf-8", opener=_for_us_alone)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)


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
            raise ServeRefused(f"{path.parent.parent} is already served by process {owner}") from None
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise ServeRefused(
                        f"processes of an earlier run still hold {path.parent.parent}"
                    ) from None
                time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
