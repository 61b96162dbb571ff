"""Everything a person can have done here: each face calls these, and holds no logic of its own."""

from __future__ import annotations

from api.journey.holdings import HeldStores
from api.journey.journey import Journey
from api.journey.steps import Steps
from api.journey.verification import Verification


class UseCases:
    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.texts = steps.texts
        self.clock = steps.clock
        self.journey = Journey(steps)
        self.verification = Verification(steps)
        self.held_stores = HeldStores(steps)
