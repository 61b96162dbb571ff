"""When a store may be renewed, and what becomes of the old one (R22)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.errors import RenewalTooEarly


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRules:
    """``window_days`` before expiry renewal opens; ``overlap_days`` the old store stays valid (0: none)."""

    window_days: int = 90
    overlap_days: int = 0

    def check(self, now: datetime, not_after: datetime) -> None:
        """Raises RenewalTooEarly before the window opens."""
        if now < not_after - timedelta(days=self.window_days):
            raise RenewalTooEarly
