"""Threads of their own for each kind of work, so that slow work never takes the other kinds' last thread.

The framework would run everything in one pool of a few threads, which a hanging mail server fills at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from issuer.errors import Overloaded

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Lane:
    """At most ``threads`` calls at work; who waits ``patience`` seconds for a thread in vain is sent away."""

    def __init__(self, name: str, *, threads: int, patience: float = 10.0) -> None:
        self.name = name
        self._patience = patience
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Raises Overloaded where the call has not begun in time; what has begun is waited for."""
        context = contextvars.copy_context()
        work = self._threads.submit(context.run, functools.partial(call, *args, **kwargs))
        outcome = asyncio.wrap_future(work)
        try:
            _, waiting = await asyncio.wait({outcome}, timeout=self._patience)
        except asyncio.CancelledError:
            work.cancel()
            raise
        # A call that runs already cannot be cancelled: its caller gets its answer.
        if waiting and work.cancel():
            raise Overloaded(f"no thread of {self.name} came free in {self._patience} s")
        return await outcome

    def handler(self, call: Callable[_P, _R]) -> Callable[_P, Awaitable[_R]]:
        """A blocking function as a handler that runs in this lane."""

        @functools.wraps(call)
        async def on_lane(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return await self.run(call, *args, **kwargs)

        return on_lane


PROVING: Final = Lane("proving", threads=8)
LOGIN: Final = Lane("login", threads=8)
READING: Final = Lane("reading", threads=12)
ISSUING: Final = Lane("issuing", threads=12)
MAILING: Final = Lane("mailing", threads=12, patience=5.0)
"""Web's: what proves who calls, for which the provider's keys may be fetched; what asks the provider; what
only reads and writes databases; what asks the issuer; what waits for a mail server."""
