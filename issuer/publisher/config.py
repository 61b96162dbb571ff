"""Section [publisher]: how far ahead CRLs and OCSP answers reach, and how often they are renewed."""

from __future__ import annotations

from typing import Literal

import msgspec

DAY = 86_400
HOUR = 3_600


class PublisherConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All durations in seconds."""

    crl_life: int = 7 * DAY
    crl_renewal: int = DAY
    """A CRL of that age is signed anew even where nothing was revoked."""
    keep_expired: int = 30 * DAY
    """How long a revoked certificate stays on the CRL after its end. RFC 5280 5: at least one
    CRL beyond it; longer, so that a clock which jumps ahead for a while takes nobody off."""
    answer_life: int = 12 * HOUR
    """Answers are renewed at half of it."""
    answer_batch: int = 200
    signer_renewal: int = 30 * DAY
    """The OCSP signer's certificate is renewed that long before its end."""
    unknown: Literal["unknown", "unauthorized"] = "unknown"
    """What is said of a serial that was never issued."""
    live_rate: float = 200.0
    """Answers signed on demand a second, for known and for unknown serials each."""
    live_burst: int = 400
    reconcile_every: float = 600.0
    """How often everything published is compared with the registry, and how soon a difference is looked
    for again."""
    retry_first: float = 0.2
    retry_longest: float = 5.0

    def __post_init__(self) -> None:
        if not HOUR // 2 <= self.crl_renewal <= self.crl_life // 2 or self.crl_life > 7 * DAY:
            raise ValueError("publisher: crl_life an hour to 7 days, crl_renewal half an hour to its half")
        if self.keep_expired < self.crl_life:
            raise ValueError("publisher.keep_expired: at least crl_life")
        if not 60 <= self.answer_life <= 7 * DAY or not 1 <= self.answer_batch <= 1000:
            raise ValueError("publisher: answer_life from a minute to 7 days, answer_batch from 1 to 1000")
        if self.signer_renewal < 2 * self.answer_life:
            raise ValueError("publisher.signer_renewal: at least twice answer_life, which it must outlive")
        if min(self.live_rate, self.live_burst, self.retry_first, self.reconcile_every) <= 0:
            raise ValueError("publisher: rates and pauses are positive")
        if self.retry_longest < self.retry_first:
            raise ValueError("publisher.retry_longest: at least retry_first")
