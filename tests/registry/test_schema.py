"""The migrations make what ``schema`` says, and every error the registry gives is its own."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from stillroom_registry import schema
from stillroom_registry.registry import Registry


def test_the_migrations_make_the_schema(registry: Registry) -> None:
    with registry.database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, parents: not foreign(name, kind)}
        )
        differences = compare_metadata(context, schema.metadata)
    assert differences == []


def foreign(name: str | None, kind: str) -> bool:
    return kind == "table" and name is not None and name.startswith("alembic_version_")
