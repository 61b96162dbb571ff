"""Section [journey]: the settings of a request's life before and after its generation."""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class JourneyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durations in seconds unless the name says otherwise."""

    code_key_file: str
    """32 random bytes or more, outside the database: the key of the codes' hashes."""
    code_lifetime: Positive = 300
    code_attempts: Positive = 5
    resend_pause: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 30
    sends_per_request: Positive = 10
    sends_per_hour: Positive = 20
    """Of one professional, and of one address."""
    generation_bound: Positive = 120
    purge_hours: Positive = 24
    sweep_every: Annotated[float, msgspec.Meta(gt=0)] = 5.0
