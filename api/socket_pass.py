"""The pass beside a Unix socket: who can read it may speak there (docs/adr/0010).

Where processes have users of their own, folders, modes and SO_PEERCRED say who may speak. Started by one
ordinary user, all look the same to the kernel, and Landlock does not watch over connecting to a socket that
has a path; but it does watch over files. So each start of a server writes a fresh secret beside its socket,
every request brings it along, and only processes whose reach has that folder can know it.
"""

from __future__ import annotations

import hmac
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import httpx
from litestar.types import ASGIApp, Receive, Send

from api.problems import problem, send_problem
from issuer.clock import RandomBytes, system_random
from issuer.durable import write_file

HEADER: Final = "mycert-pass"
_OPEN_TO_ALL: Final = "/health/live"
"""What the supervisor asks, which has no part in anything else."""


def pass_beside(socket: Path) -> Path:
    return socket.with_name("pass")


def write_pass(path: Path, random: RandomBytes = system_random) -> None:
    """By rename, so that nobody reads half of one. Its group is the folder's: the client's own."""
    write_file(path, random(32).hex().encode(), replace=True, mode=0o640)


class ShowPass(httpx.Auth):
    """The client's side. Read for each request, for the server may have been started anew."""

    def __init__(self, socket: Path) -> None:
        self._path = pass_beside(socket)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            request.headers[HEADER] = self._path.read_text(encoding="ascii")
        except OSError as error:
            raise httpx.ConnectError(f"no pass: {error.strerror}", request=request) from None
        yield request


def local_client(socket: Path, *, timeout: float, connections: int = 10) -> httpx.Client:
    """To the process that serves this socket; thread-safe, and by nothing that the environment says."""
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=connections)),
        base_url="http://local",
        auth=ShowPass(socket),
        timeout=timeout,
        trust_env=False,
    )


class CheckPass:
    """The server's side, around its application. Raises OSError where the pass was not written."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        self._app = app
        self._pass = path.read_bytes()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != _OPEN_TO_ALL:
            shown = dict(scope["headers"]).get(HEADER.encode(), b"")
            if not hmac.compare_digest(shown, self._pass):
                await send_problem(send, problem("ca-unavailable"), connection="close")
                return
        await self._app(scope, receive, send)
