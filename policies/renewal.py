"""When a store may be renewed, and what becomes of it once its successor is active (R22)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.errors import AlreadyDeactivated, RenewalTooEarly, WrongState
from policies.lifecycle import StoreStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRules:
    """``window_days`` before expiry renewal opens; ``overlap_days`` the old store stays valid (0: none)."""

    window_days: int = 90
    overlap_days: int = 0

    def check(self, now: datetime, status: StoreStatus, not_after: datetime | None) -> None:
        """Only the active store is renewed, and not before the window opens.

        Raises AlreadyDeactivated, WrongState for one that is being made or retires, RenewalTooEarly.
        """
        if status in (StoreStatus.ISSUING, StoreStatus.RETIRING):
            raise WrongState(f"a store that is {status} is not renewed")
        if status is not StoreStatus.ACTIVE or not_after is None:
            raise AlreadyDeactivated
        if now < self.opens(not_after):
            raise RenewalTooEarly(self.opens(not_after))

    def opens(self, not_after: datetime) -> datetime:
        return not_after - timedelta(days=self.window_days)

    def retires(self, now: datetime, not_after: datetime) -> datetime | None:
        """Until when a store whose successor is active stays valid; None where it ends at once."""
        if self.overlap_days == 0:
            return None
        return min(now + timedelta(days=self.overlap_days), not_after)
