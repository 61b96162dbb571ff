"""``Prefer: wait=N`` (RFC 7240 4.3): answer when the store is made, so that a front end need not poll.

One thread follows the registry while anybody waits; a waiting call itself holds no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import threading
from dataclasses import dataclass
from typing import Final

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from issuer.registry.changes import Changes
from issuer.registry.database import Database
from issuer.registry.tables import stores
from policies.lifecycle import StoreStatus

log = structlog.get_logger(__name__)

MOST_SECONDS: Final = 30
_TICK: Final = 0.25
"""How late a waiter may be served who came between a change and the look at it."""
_WAIT: Final = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;[^,]*)?(?=,|$)', re.IGNORECASE)


def preferred_wait(prefer: str | None) -> int | None:
    """Whole seconds, at most ``MOST_SECONDS``; what is malformed is no preference (RFC 7240 2)."""
    found = _WAIT.search(prefer or "")
    return min(int(found.group(1)), MOST_SECONDS) if found else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiter:
    request_id: str
    loop: asyncio.AbstractEventLoop
    settled: asyncio.Future[None]

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended, and with it who waited.
            self.loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)


class Settlements:
    """Who waits for which request's store. Bounded in all and for each request."""

    def __init__(self, registry: Database, *, most: int = 100, most_of_request: int = 4) -> None:
        self._registry = registry
        self._most = most
        self._most_of_request = most_of_request
        self._lock = threading.Lock()
        self._waiters: list[_Waiter] = []
        self._follower: threading.Thread | None = None
        self._closed = False

    async def wait(self, request_id: str, seconds: float) -> bool:
        """Until the store is no longer being made, or the time is over. False at once where too many wait."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(request_id=request_id, loop=loop, settled=loop.create_future())
        if not self._enter(waiter):
            return False
        try:
            async with asyncio.timeout(seconds):
                await waiter.settled
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiters.remove(waiter)
        return True

    def close(self) -> None:
        """Let everybody go, and nobody wait any more."""
        with self._lock:
            self._closed = True
            for waiter in self._waiters:
                waiter.wake()

    def _enter(self, waiter: _Waiter) -> bool:
        with self._lock:
            of_request = sum(other.request_id == waiter.request_id for other in self._waiters)
            if self._closed or len(self._waiters) >= self._most or of_request >= self._most_of_request:
                return False
            self._waiters.append(waiter)
            if self._follower is None:
                self._follower = threading.Thread(target=self._follow, name="settlements", daemon=True)
                self._follower.start()
            return True

    def _follow(self) -> None:
        """Ends when nobody waits. A database that fails lets everybody go, to look for themselves."""
        try:
            with Changes(self._registry) as changes:
                while waiting := self._waiting():
                    changes.wait(_TICK)
                    settled = self._settled({waiter.request_id for waiter in waiting})
                    for waiter in waiting:
                        if waiter.request_id in settled:
                            waiter.wake()
        except (SQLAlchemyError, psycopg.Error, sqlite3.Error) as error:
            log.warning("following-failed", cause=type(error).__name__)
            with self._lock:
                self._follower = None
                for waiter in self._waiters:
                    waiter.wake()

    def _settled(self, request_ids: set[str]) -> set[str]:
        """Those whose store is no longer being made, whatever became of it."""
        query = sa.select(stores.c.request_id).where(
            stores.c.request_id.in_(request_ids), stores.c.status != StoreStatus.ISSUING
        )
        with self._registry.read() as connection:
            return set(connection.execute(query).scalars())

    def _waiting(self) -> list[_Waiter]:
        with self._lock:
            if not self._waiters or self._closed:
                self._follower = None
                return []
            return list(self._waiters)
