"""Headers that every answer of the web process carries, problems and other people's handlers included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar.types import ASGIApp, Receive, Send

FOR_PROGRAMS: Final = ("/api/", "/pki/", "/schema/", "/health/")
"""What is below these paths no person looks at."""

PROTECTION: Final[Mapping[bytes, bytes]] = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
}


class ProtectiveHeaders:
    """ASGI: adds each header of ``PROTECTION``, and of ``pages`` in its place where people look, that the
    answer does not carry already."""

    def __init__(self, app: ASGIApp, pages: Callable[[], Mapping[bytes, bytes]] | None = None) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        async def protected(message: Any) -> None:
            if message["type"] == "http.response.start":
                wanted = dict(PROTECTION)
                if self._pages is not None and not scope["path"].startswith(FOR_PROGRAMS):
                    wanted |= self._pages()
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers += [entry for entry in wanted.items() if entry[0] not in present]
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, protected if scope["type"] == "http" else send)
