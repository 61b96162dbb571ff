from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from api.cli.db import JOURNEY_SCRIPTS
from api.journey import tables
from issuer.registry import grants
from issuer.registry.migrate import is_current
from tests.fixtures.world import World


def test_migrations_make_exactly_the_tables_of_the_code(world: World) -> None:
    ours = set(tables.metadata.tables)
    with world.database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "target_metadata": tables.metadata,
                "compare_type": True,
                # On PostgreSQL the test's world keeps both schemas' tables in one place.
                "include_name": lambda name, kind, _parents: kind != "table" or name in ours,
            },
        )
        assert compare_metadata(context, tables.metadata) == []
    assert is_current(world.database, JOURNEY_SCRIPTS)


def test_grants_name_tables_that_exist() -> None:
    named = {table for rights in grants.JOURNEY.values() for table in rights}
    assert named <= set(tables.metadata.tables)
