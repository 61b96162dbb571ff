"""How a process serves: several ASGI applications at once, each on TCP or on a Unix socket of its own.

uvicorn does HTTP; this module adds what it leaves out: who may connect (SO_PEERCRED), bounds on the size and
the time of a request, problem documents for what never reaches an application, and one bounded end for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.addresses import WAITING, TcpAddress, UnixAddress, open_socket, peer_uid
from api.logs import AccessLog, get_logger
from api.overload import Overload
from api.problems import Problem, Safety, problem
from api.socket_pass import CheckPass

__all__ = ["Limits", "Listener", "StartFailed", "TcpAddress", "UnixAddress", "run"]

GRACE_SECONDS: Final = 10
_OTHER_FILES: Final = 512
_SWEEP_TICKS: Final = 10
"""uvicorn ticks ten times a second; slow connections are looked for once a second."""


class StartFailed(Exception):
    """An application's own start-up failed; it logged the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    head_bytes: int = 16 * 1024
    body_bytes: int = 256 * 1024
    request_seconds: float = 20.0
    """For a request to arrive whole; a connection that says nothing is closed after it too."""
    keep_alive_seconds: int = 15
    connections: int = 2000
    requests: int = 200
    """At work at once, all of their bodies here; more are answered ``too-many-requests``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    app: ASGIApp
    address: TcpAddress | UnixAddress
    limits: Limits = Limits()
    access_log: bool = True
    shortcut: Shortcut | None = None


Shortcut = Callable[[bytes], bytes | None]
"""Sees what arrives where a request may begin, first: what stands after status line and Date of a 200,
or None to let HTTP take its course."""

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
"""Frameworks and bare code write its three types down differently."""

Hook = Callable[[], Awaitable[None]]


def run(
    listeners: Sequence[Listener],
    *,
    background: Sequence[Callable[[threading.Event], None]] = (),
    on_start: Hook | None = None,
    on_end: Callable[[], None] | None = None,
    on_stop: Hook | None = None,
    grace: float = GRACE_SECONDS,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, at most ``grace`` seconds, and return.

    ``on_start`` runs once every address answers; then each of ``background`` has a thread of its own, until
    its event is set; one that raises ends the process. ``on_end`` runs at the signal, that nothing waits in
    vain for the end. After the last connection ended the background ends, and then ``on_stop`` runs.
    """
    log = get_logger()

    def end() -> None:
        """Bounded twice: gently by uvicorn, and hard, for a thread that never returns blocks exit."""
        if on_end is not None:
            on_end()
        if not any(server.should_exit for server in servers):
            last_resort = threading.Timer(grace + 2, os._exit, args=(70,))
            last_resort.daemon = True
            last_resort.start()
        for server in servers:
            server.should_exit = True

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        started: list[_Server] = []
        stop = threading.Event()

        def beside(work: Callable[[threading.Event], None]) -> None:
            """Without this work the process is not what it seems: it ends, to be started anew."""
            try:
                work(stop)
            except Exception:
                log.exception("background-failed")
                loop.call_soon_threadsafe(end)

        threads = [threading.Thread(target=beside, args=(work,), daemon=True) for work in background]
        try:
            for server, sock in zip(servers, sockets, strict=True):
                await server.startup([sock])
                started.append(server)
            if on_start is not None:
                await on_start()
            for thread in threads:
                thread.start()
            # What the start has loaded stays: the collector need not look through all of it again and again.
            gc.collect()
            gc.freeze()
            log.info("serving", addresses=[str(entry.address) for entry in listeners])
            await asyncio.gather(*(server.main_loop() for server in servers))
        finally:
            await asyncio.gather(*(server.shutdown() for server in started))
            stop.set()
            for thread in filter(threading.Thread.is_alive, threads):
                await asyncio.to_thread(thread.join, grace)
            if on_stop is not None:
                await on_stop()
            log.info("stopped")

    _allow_files(max(entry.limits.connections for entry in listeners))
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(open_socket(entry.address)) for entry in listeners]
        servers = [_Server(entry, grace) for entry in listeners]
        uvloop.run(serve())


def _allow_files(connections: int) -> None:
    """A log-in gives a process 1,024 files, fewer than connections: who opens so many would stop all work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < connections + _OTHER_FILES:
        wanted = connections + _OTHER_FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


class _Server(uvicorn.Server):
    def __init__(self, entry: Listener, grace: float) -> None:
        self._entry = entry
        app: ASGIApp = Safety(entry.app)
        if isinstance(entry.address, UnixAddress) and entry.address.pass_file is not None:
            app = CheckPass(app, entry.address.pass_file)
        app = Overload(app, entry.limits.requests)
        config = uvicorn.Config(
            AccessLog(app) if entry.access_log else app,
            http=_Protocol,
            ws="none",
            lifespan="auto",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=entry.limits.keep_alive_seconds,
            timeout_graceful_shutdown=max(1, int(grace)),
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise StartFailed(str(self._entry.address))
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock in sockets or ():
            serve = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self.servers.append(await serve(self._protocol, sock=sock, backlog=WAITING))
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(self.config, self.server_state, self.lifespan.state, entry=self._entry)

    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, _Protocol):
                    connection.close_if_late(now)
        return await super().on_tick(counter)


class _Refused(Exception):
    """Ends the parsing of a request from within; the answer is in the protocol's ``_refusal``."""


class _Protocol(HttpToolsProtocol):
    """uvicorn's, with the peer checked first and every request bounded in bytes and seconds."""

    def __init__(self, *args: Any, entry: Listener, **options: Any) -> None:
        super().__init__(*args, **options)
        self._address = entry.address
        self._limits = entry.limits
        self._refusal: Problem | None = None
        self._shortcut = entry.shortcut
        self._received = 0
        self._in_head = True
        self._between = True
        self._handed_over = False
        self._deadline: float | None = self.loop.time() + entry.limits.request_seconds
        self._unread, self._read_at = 0, self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if isinstance(self._address, UnixAddress):
            uid = peer_uid(transport.get_extra_info("socket"))
            if uid not in self._address.peers and uid != 0:
                get_logger().warning("peer refused", socket=str(self._address), uid=uid)
                transport.abort()
        elif len(self.connections) > self._limits.connections and not self._makes_room():
            transport.abort()

    def _makes_room(self) -> bool:
        """Whether one that waits for a request left, of the address that holds most.

        That address's own newcomers find no room: so it takes nobody else's places. Behind a proxy all come
        from one address, and who comes last is sent away.
        """
        others = [one for one in self.connections if isinstance(one, _Protocol)]
        ((peer, _),) = Counter(one._peer for one in others).most_common(1)
        waiting = (one for one in others if one._peer == peer and (one._deadline is not None or one._idle))
        if peer == self._peer or (one := next(waiting, None)) is None:
            return False
        one.transport.abort()
        return True

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._shortcut is not None and self._idle and (ready := self._shortcut(data)) is not None:
            self._unset_keepalive_if_required()
            self._deadline = self.loop.time() + self._limits.keep_alive_seconds
            date = self.server_state.default_headers[0][1]
            self.transport.write(b"HTTP/1.1 200 OK\r\ndate: %s\r\n%s" % (date, ready))
            return
        self._received += len(data)
        super().data_received(data)
        limit = self._limits.head_bytes + (0 if self._in_head else self._limits.body_bytes)
        if self._received > limit and not self.transport.is_closing() and not self._answered:
            self._answer(problem("too-large"))

    @property
    def _answered(self) -> bool:
        """Whether the application has answered before the body was here. The rest is read for nothing until
        its time is over: closed on it, the connection would take the answer along (RFC 9112 9.6)."""
        return self._handed_over and self.cycle is not None and self.cycle.response_complete

    @property
    def _idle(self) -> bool:
        """Whether nothing is under way: no part of a request, no answer, nor one that is left unread."""
        done = self.cycle is None or self.cycle.response_complete
        return done and self._between and not self.flow.write_paused

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._between, self._handed_over = True, False, False
        self._deadline = self.loop.time() + self._limits.request_seconds

    def on_headers_complete(self) -> None:
        self._in_head = False
        # What came in one piece has been parsed before its size was looked at.
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.head_bytes:
            self._refusal = problem("too-large")
            raise _Refused
        # RFC 9112 3.2: exactly one, and none at all from HTTP/1.0 alone.
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise _Refused
        super().on_headers_complete()
        self._handed_over = True

    def on_message_complete(self) -> None:
        self._received = 0
        self._in_head = self._between = True
        self._handed_over = False
        self._deadline = None
        super().on_message_complete()

    def close_if_late(self, now: float) -> None:
        """Who sends too slowly; and who reads nothing of what it asked for, and would hold it for ever."""
        unread = self.transport.get_write_buffer_size()
        if not unread or unread < self._unread:
            self._read_at = now
        self._unread = unread
        late = self._deadline is not None and now > self._deadline
        if late or now - self._read_at > self._limits.request_seconds:
            self._deadline = None
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        self._answer(self._refusal or problem("invalid-request", status=400))

    def _answer(self, document: Problem) -> None:
        """For what never reaches an application. An answer, or half of one, is followed by no other."""
        cycle = self.cycle
        # It is still that of the request before, until this one is handed over.
        if cycle is None or not cycle.response_started or (cycle.response_complete and not self._answered):
            headers, body = document.on_the_wire(connection="close")
            head = b"".join(b"%s: %s\r\n" % entry for entry in headers)
            status, title = document.status, document.title.encode()
            self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, title, head, body))
        self.transport.close()
        if cycle is not None:
            cycle.disconnected = True  # What is under way writes to nobody from now on.
