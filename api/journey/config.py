"""Section [journey]: the settings of a request's life before and after its generation."""

from __future__ import annotations

import msgspec


class JourneyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durations in seconds unless the name says otherwise."""

    code_key_file: str
    """32 random bytes or more, outside the database: the key of the codes' hashes."""
    code_lifetime: int = 300
    code_attempts: int = 5
    resend_pause: int = 30
    sends_per_request: int = 10
    sends_per_hour: int = 20
    """Of one professional, and of one address."""
    generation_bound: int = 120
    purge_hours: int = 24
    sweep_every: float = 5.0

    def __post_init__(self) -> None:
        numbers = (
            self.code_lifetime,
            self.code_attempts,
            self.sends_per_request,
            self.sends_per_hour,
            self.generation_bound,
            self.purge_hours,
        )
        if min(numbers) < 1 or self.resend_pause < 0 or self.sweep_every <= 0:
            raise ValueError("journey: limits and durations are positive")
