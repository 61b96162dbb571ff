"""How many calls a person may make in a minute. In memory: each web process counts its own."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from issuer.clock import Clock
from issuer.identity.identity import Identity
from policies.errors import TooManyRequests

_WINDOW = timedelta(minutes=1)
_MOST_PEOPLE = 100_000


class CallBudget:
    """Fixed windows of a minute. Thread-safe, bounded: when full, all windows begin anew."""

    def __init__(self, calls_per_minute: int, clock: Clock) -> None:
        self._most = calls_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[datetime, int]] = {}

    def spend(self, identity: Identity) -> None:
        """Raises TooManyRequests. One budget for a person's pages and calls together."""
        person = f"e:{identity.ehealth_id}" if identity.ehealth_id else f"s:{identity.subject}"
        now = self._clock()
        with self._lock:
            begun, calls = self._windows.get(person, (now, 0))
            if now - begun >= _WINDOW:
                begun, calls = now, 0
            if calls >= self._most:
                raise TooManyRequests(int((begun + _WINDOW - now).total_seconds()) + 1)
            if len(self._windows) >= _MOST_PEOPLE:
                self._windows.clear()
            self._windows[person] = (begun, calls + 1)
