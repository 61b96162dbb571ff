from __future__ import annotations

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.publication",
    "tests.fixtures.reach",
    "tests.fixtures.registries",
    "tests.fixtures.softhsm",
    "tests.fixtures.system",
    "tests.fixtures.relying",  # imports system, which must be registered first
    "tests.fixtures.world",
]
