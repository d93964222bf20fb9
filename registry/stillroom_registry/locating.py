"""Which version a name means, and that version: what a resolve costs after somebody's commit.

Each is one statement, so one state of the database, read by the driver alone; see ``bare``.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from stillroom_registry.bare import compiled
from stillroom_registry.columns import from_microseconds
from stillroom_registry.database import Database
from stillroom_registry.names import DEFAULT_ALIAS, ModelRef
from stillroom_registry.rows import MAX_VERSION
from stillroom_registry.schema import aliases, models, version_files, version_parents, versions
from stillroom_registry.values import File, ModelKind, ModelVersion

_MODEL: sa.BindParameter[str] = sa.bindparam("model")
_TARGET: sa.BindParameter[Any] = sa.bindparam("target")  # a version's number or an alias
_LIVE_VERSION = sa.and_(versions.c.model_id == models.c.id, versions.c.delete_time.is_(None))
_BY_ALIAS = (
    sa.select(aliases.c.version)
    .where(aliases.c.model_id == models.c.id, aliases.c.alias == _TARGET)
    .correlate(models)
    .scalar_subquery()
)
_OTHERS = versions.alias()
_LATEST = (
    sa.select(sa.func.max(_OTHERS.c.version))
    .where(_OTHERS.c.model_id == models.c.id, _OTHERS.c.delete_time.is_(None))
    .correlate(models)
    .scalar_subquery()
)
_FILE = sa.func.json_array(version_files.c.path, version_files.c.digest, version_files.c.size)
_PARENT = sa.func.json_array(version_parents.c.position, version_parents.c.parent)
_FILES, _PARENTS = (
    sa.select(sa.func.json_group_array(item))
    .where(table.c.version_id == versions.c.id)
    .scalar_subquery()
    for item, table in ((_FILE, version_files), (_PARENT, version_parents))
)


def _statements(number: sa.ColumnElement[Any]) -> tuple[str, str]:
    """What asks for the number alone, and for the whole version of that number."""
    meant = (models.c.name == _MODEL, models.c.delete_time.is_(None), _LIVE_VERSION)
    columns = (
        versions.c.version,
        versions.c.kind,
        sa.type_coerce(versions.c.metadata, sa.Text),
        versions.c.size,
        versions.c.digest,
        versions.c.create_time,
        _FILES,
        _PARENTS,
    )
    where = (*meant, versions.c.version == number)
    return (
        compiled(sa.select(versions.c.version).where(*where)),
        compiled(sa.select(*columns).where(*where)),
    )


_OF_VERSION = _statements(_TARGET)
_OF_ALIAS = _statements(_BY_ALIAS)
_OF_NAME = _statements(sa.func.coalesce(_BY_ALIAS, _LATEST))


def number_of(database: Database, ref: ModelRef) -> int | None:
    """The version's number that ``ref`` means now, or None."""
    rows = _rows(database, ref, whole=False)
    return rows[0][0] if rows else None


def find(database: Database, ref: ModelRef) -> ModelVersion | None:
    """The version that ``ref`` means now. None when it means none; ``Reader.load`` says why."""
    rows = _rows(database, ref, whole=True)
    if not rows:
        return None
    number, kind, metadata, size, digest, create_time, files, parents = rows[0]
    return ModelVersion(
        model=ref.model,
        version=number,
        kind=ModelKind(kind),
        files=tuple([File(*file) for file in sorted(json.loads(files))]),
        metadata=json.loads(metadata),
        parents=tuple([parent for _, parent in sorted(json.loads(parents))]),
        create_time=from_microseconds(create_time),
        size=size,
        digest=digest,
    )


def _rows(database: Database, ref: ModelRef, *, whole: bool) -> list[tuple[Any, ...]]:
    target: int | str
    if ref.version is not None:
        if ref.version > MAX_VERSION:
            return []
        statements, target = _OF_VERSION, ref.version
    elif ref.alias is not None:
        statements, target = _OF_ALIAS, ref.alias
    else:
        statements, target = _OF_NAME, DEFAULT_ALIAS
    return database.rows(statements[whole], {"model": ref.model, "target": target})
