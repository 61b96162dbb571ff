"""The main port's door to the status port: ``/pki/…`` is passed on as it came, bytes and headers."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
from litestar.types import ASGIApp, Receive, Send

from api.problems import problem, send_problem

_MAX_BODY: Final = 64 * 1024
_TARGET: Final = re.compile(
    rb"/pki/(ca|crl)/[a-z0-9-]{1,64}\.(cer|crl)|/pki/ocsp(/[A-Za-z0-9+/=%_-]{0,4096})?"
)
"""All that status serves there. No dot but the file name's: nothing walks to that port's other pages."""

_PASSED: Final = {b"content-type", b"accept", b"if-none-match", b"if-modified-since"}
_RETURNED: Final = {
    b"content-type",
    b"content-length",
    b"cache-control",
    b"etag",
    b"last-modified",
    b"expires",
    b"allow",
    b"retry-after",
}


class ForwardStatus:
    """ASGI: what is below ``/pki/`` goes to the status process, everything else to ``app``."""

    def __init__(self, app: ASGIApp, *, host: str, port: int) -> None:
        self._app = app
        self._client = httpx.AsyncClient(
            base_url=f"http://{f'[{host}]' if ':' in host else host}:{port}", timeout=5.0, trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/pki/"):
            await self._app(scope, receive, send)
            return
        # The path as it came: an OCSP GET's base64 may carry percent-encoding (RFC 6960 A.1).
        target = scope["raw_path"]
        if not _TARGET.fullmatch(target):
            await send_problem(send, problem("not-found"))
            return
        body = b""
        while True:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > _MAX_BODY:
                await send_problem(send, problem("too-large"), connection="close")
                return
            if not message.get("more_body"):
                break
        headers = [(name, value) for name, value in scope["headers"] if name in _PASSED]
        request = self._client.build_request(
            scope["method"],
            "/",
            content=body or None,
            # As asked, uncoded: what is stored is already as small as it gets.
            headers=[*headers, (b"accept-encoding", b"identity")],
            # Sent as it stands: a URL parser would resolve, decode and encode it anew.
            extensions={"target": target, "timeout": self._client.timeout.as_dict()},
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.HTTPError:
            await send_problem(send, problem("ca-unavailable", retry_after=1))
            return
        try:
            returned = [(name.lower(), value) for name, value in answer.headers.raw]
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status_code,
                    "headers": [(name, value) for name, value in returned if name in _RETURNED],
                }
            )
            async for part in answer.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await answer.aclose()
