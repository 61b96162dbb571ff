from __future__ import annotations

from hypothesis import HealthCheck, settings

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
# The same examples every time: what a new one finds is no fault of the change that it would fail.
# `pytest --hypothesis-profile=exploring` looks for new ones, as often as it is run.
settings.register_profile(
    "exploring", settings(), deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("repeatable", settings.get_profile("exploring"), derandomize=True, database=None)
settings.load_profile("repeatable")
