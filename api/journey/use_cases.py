"""Everything a person can have done here: each face calls these, and holds no logic of its own."""

from __future__ import annotations

from dataclasses import dataclass

from api.journey.holdings import HeldStores
from api.journey.journey import Journey
from api.journey.verification import Verification
from api.texts import Texts
from issuer.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    journey: Journey
    verification: Verification
    held_stores: HeldStores
    texts: Texts
    clock: Clock
