"""The migrations make what ``schema`` says, and every error the registry gives is its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import stillroom_registry
import stillroom_server
from stillroom_registry import schema
from stillroom_registry.migrate import newest
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


@pytest.mark.parametrize(
    "folder",
    [
        Path(stillroom_registry.__file__).parent / "migrations",
        Path(stillroom_server.__file__).parent / "operations" / "migrations",
    ],
    ids=["registry", "operations"],
)
def test_the_newest_revision_is_told_by_the_files_names(folder: Path) -> None:
    """What spares a start the import of alembic."""
    assert newest(folder) == ScriptDirectory(str(folder)).get_current_head()
