"""How many requests a process works on at once: who comes beyond that is told to come again."""

from __future__ import annotations

from typing import Any

from litestar.types import Receive, Send

from api.problems import problem, send_problem


class Overload:
    """ASGI middleware: at most ``most`` requests whose bodies are here."""

    def __init__(self, app: Any, most: int) -> None:
        self._app = app
        self._most = most
        self._at_work = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._at_work >= self._most:
            await send_problem(send, problem("too-many-requests", retry_after=1), connection="close")
            return
        arriving = True

        async def arrived() -> Any:
            # Who waits for a body works on nothing: else a few that never send theirs would hold every place.
            nonlocal arriving
            if not arriving:
                return await receive()
            self._at_work -= 1
            try:
                message: Any = await receive()
            finally:
                self._at_work += 1
            arriving = message.get("more_body", False)
            return message

        self._at_work += 1
        try:
            await self._app(scope, arrived, send)
        finally:
            self._at_work -= 1
