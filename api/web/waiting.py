"""``Prefer: wait=N`` (RFC 7240 4.3): answer when the store is made, so that a front end need not poll.

One task looks for all who wait, while anybody waits; a waiting call itself holds no thread.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.lanes import READING
from issuer.errors import Overloaded
from issuer.registry.database import Database
from issuer.registry.tables import stores
from policies.lifecycle import StoreStatus

log = structlog.get_logger(__name__)

MOST_SECONDS: Final = 30
_TICK: Final = 0.1
_TICK_OF_ONE: Final = 0.005
"""Seconds between two looks, each one small query: sooner where few wait, for then there is time."""
_WAIT: Final = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;[^,]*)?(?=,|$)', re.IGNORECASE)


def preferred_wait(prefer: str | None) -> int | None:
    """Whole seconds, at most ``MOST_SECONDS``; what is malformed is no preference (RFC 7240 2)."""
    found = _WAIT.search(prefer or "")
    return min(int(found.group(1)), MOST_SECONDS) if found else None


class Settlements:
    """Who waits for which request's store. Bounded in all and for each request; of one event loop."""

    def __init__(self, registry: Database, *, most: int = 100, most_of_request: int = 4) -> None:
        self._registry = registry
        self._most = most
        self._most_of_request = most_of_request
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def wait(self, request_id: str, seconds: float) -> bool:
        """Until the store is no longer being made, or the time is over. False at once where too many wait."""
        of_request = Counter(self._waiting.values())[request_id]
        if self._closed or len(self._waiting) >= self._most or of_request >= self._most_of_request:
            return False
        settled = asyncio.get_running_loop().create_future()
        self._waiting[settled] = request_id
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait({settled}, timeout=seconds)
        finally:
            del self._waiting[settled]
        return True

    def close(self) -> None:
        """Let everybody go, and nobody wait any more."""
        self._closed = True
        self._release(set(self._waiting.values()))

    async def _look(self) -> None:
        """Ends when nobody waits. A database that fails lets everybody go, to look for themselves."""
        while waiting := set(self._waiting.values()):
            await asyncio.sleep(min(_TICK, _TICK_OF_ONE * len(waiting)))
            try:
                self._release(await READING.run(self._settled, waiting))
            except (SQLAlchemyError, Overloaded) as error:
                log.warning("looking-failed", cause=type(error).__name__)
                self._release(waiting)

    def _release(self, request_ids: set[str]) -> None:
        for settled, request_id in self._waiting.items():
            if request_id in request_ids and not settled.done():
                settled.set_result(None)

    def _settled(self, request_ids: set[str]) -> set[str]:
        """Those whose store is no longer being made, whatever became of it."""
        query = sa.select(stores.c.request_id).where(
            stores.c.request_id.in_(request_ids), stores.c.status != StoreStatus.ISSUING
        )
        with self._registry.read() as connection:
            return set(connection.execute(query).scalars())
