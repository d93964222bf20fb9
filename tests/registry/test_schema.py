"""The migrations make what ``schema`` says, and every error the registry gives is its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import stillroom_registry
import stillroom_server
from stillroom_registry import schema
from stillroom_registry.database import Database
from stillroom_registry.datadir import create_layout
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


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    """What was published before there were rows of blobs and relations gets both."""
    migrations = Path(stillroom_registry.__file__).parent / "migrations"
    old = tmp_path / "old" / "versions"
    old.mkdir(parents=True)
    shutil.copy(migrations / "versions" / "r0001_registry.py", old)
    create_layout(tmp_path / "data")
    database = Database.open(tmp_path / "data" / "stillroom.db")
    database.migrate("registry", tmp_path / "old")
    with database.write() as connection:
        for statement in OLD.strip().splitlines():
            connection.exec_driver_sql(statement)
    database.close()
    registry = Registry.open(tmp_path / "data")
    assert registry.usage().used_bytes == 12
    start = registry.get_model("t").create_time
    assert [v.name for v in registry.due_for_verification(start, 1)] == ["models/t/versions/1"]
    assert [(e.child.split("/")[1], e.relation) for e in registry.lineage("t").edges] == [
        ("s", "distill"),
        ("q", "quantize"),
        ("c", "train"),
        ("o", "copy"),
    ]
    registry.close()


OLD = """
INSERT INTO models VALUES (1, 't', 'teacher', '', '{}', 2, 1, 5, 5, NULL)
INSERT INTO models VALUES (2, 's', 'student', '', '{}', 2, 1, 6, 6, NULL)
INSERT INTO models VALUES (3, 'q', 'student', '', '{}', 2, 1, 6, 6, NULL)
INSERT INTO models VALUES (4, 'c', 'classifier', '', '{}', 2, 1, 6, 6, NULL)
INSERT INTO models VALUES (5, 'o', 'student', '', '{}', 2, 1, 6, 6, NULL)
INSERT INTO versions VALUES (1, 1, 1, 'teacher', '{}', 7, 'sha256:m', 5, NULL)
INSERT INTO versions VALUES (2, 2, 1, 'student', '{"recipe": "static"}', 5, 'sha256:m', 6, NULL)
INSERT INTO versions VALUES (3, 3, 1, 'student', '{"recipe": "quantize"}', 5, 'sha256:m', 6, NULL)
INSERT INTO versions VALUES (4, 4, 1, 'classifier', '{}', 5, 'sha256:m', 6, NULL)
INSERT INTO versions VALUES (5, 5, 1, 'student', '{}', 5, 'sha256:m', 6, 7)
INSERT INTO version_files VALUES (1, 'a', 'sha256:7', 7), (2, 'a', 'sha256:5', 5)
INSERT INTO version_files VALUES (3, 'a', 'sha256:5', 5), (4, 'a', 'sha256:5', 5)
INSERT INTO version_parents VALUES (2, 0, 'models/t/versions/1'), (3, 0, 'models/t/versions/1')
INSERT INTO version_parents VALUES (4, 0, 'models/t/versions/1'), (5, 0, 'models/t/versions/1')
"""
