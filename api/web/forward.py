"""The main port's door to the status port: ``/pki/…`` is passed on as it came, bytes and headers."""

from __future__ import annotations

from typing import Any

import httpx
from litestar.types import ASGIApp, Receive, Send

from api.problems import problem, send_problem

_MAX_BODY = 64 * 1024
_PASSED = {b"content-type", b"accept", b"if-none-match", b"if-modified-since"}
_RETURNED = {
    "content-type",
    "cache-control",
    "etag",
    "last-modified",
    "expires",
    "date",
    "allow",
    "retry-after",
}


class ForwardStatus:
    """ASGI: what is below ``/pki/`` goes to the status process, everything else to ``app``."""

    def __init__(self, app: ASGIApp, *, host: str, port: int) -> None:
        self._app = app
        self._base = f"http://{host}:{port}"
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/pki/"):
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > _MAX_BODY:
                await send_problem(send, problem("too-large"), close=True)
                return
            if not message.get("more_body"):
                break
        if self._client is None:
            self._client = httpx.AsyncClient(base_url=self._base, timeout=5.0, trust_env=False)
        # raw_path keeps the percent-encoding that an OCSP GET's base64 may carry (RFC 6960 A.1).
        target = scope.get("raw_path", scope["path"].encode()).decode("ascii")
        headers = [(name, value) for name, value in scope["headers"] if name in _PASSED]
        try:
            answer = await self._client.request(scope["method"], target, content=body, headers=headers)
        except httpx.HTTPError:
            await send_problem(send, problem("ca-unavailable", retry_after=1))
            return
        returned = [
            (name.encode(), value.encode()) for name, value in answer.headers.items() if name in _RETURNED
        ]
        returned.append((b"content-length", str(len(answer.content)).encode()))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": returned})
        await send({"type": "http.response.body", "body": answer.content, "more_body": False})
