"""The few HTTP answers that the responder gives, as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from api.status.documents import Document, Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

READING: Final = frozenset({"GET", "HEAD"})
ALLOW_READING: Final = "GET, HEAD"
ALLOW_POST: Final = "POST"


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The body; None where it is larger than ``limit``."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    return body if len(body) <= limit else None


async def send_document(send: Send, document: Document, now: float, asked: Headers) -> None:
    headers = document.headers(now)
    if asked and document.unchanged(asked):
        await _send(send, 304, [entry for entry in headers if not entry[0].startswith(b"content-")], b"")
    else:
        await _send(send, 200, headers, document.body)


async def send_uncached(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await _send(send, status, headers, body)


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    # A list of its own: middleware adds to it.
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})
