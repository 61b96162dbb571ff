from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from issuer.registry import grants, tables
from issuer.registry.database import Database
from issuer.registry.migrate import SCRIPTS, is_current


def test_migrations_make_exactly_the_tables_of_the_code(registry: Database) -> None:
    with registry.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"target_metadata": tables.metadata, "compare_type": True}
        )
        assert compare_metadata(context, tables.metadata) == []
    assert is_current(registry, SCRIPTS)


def test_grants_name_tables_that_exist() -> None:
    named = {table for rights in grants.REGISTRY.values() for table in rights}
    assert named <= set(tables.metadata.tables)
