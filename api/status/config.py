"""Section [status]: what the status responder accepts, and how long it vouches for what it knows."""

from __future__ import annotations

import msgspec


class StatusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All durations in seconds."""

    max_age: int = 1
    """How long a cache may hand out a CRL or a good answer without asking again. More spares
    the responder and delays by as much what a relying service behind a cache sees (R21)."""
    max_lag: float = 10.0
    """A registry that could not be followed for longer: ``tryLater``."""
    live_timeout: float = 2.0
    live_requests: int = 64
    """Requests that wait for the publisher at the same time; more get what was signed ahead."""

    def __post_init__(self) -> None:
        if self.max_age < 0 or min(self.max_lag, self.live_timeout, self.live_requests) <= 0:
            raise ValueError("status: times and numbers are positive")
