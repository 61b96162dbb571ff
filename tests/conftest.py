from __future__ import annotations

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.publication",
    "tests.fixtures.reach",
    "tests.fixtures.registries",
    "tests.fixtures.softhsm",
    "tests.fixtures.system",
    "tests.fixtures.relying",  # imports system, which must be registered first
    "tests.fixtures.world",
    "tests.fixtures.door",  # imports world, which must be registered first
]

# How long an example takes says more about the machine than about the code; the rest stays as it was.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
