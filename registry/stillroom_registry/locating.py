"""Which version a name means, and that version: what a resolve costs after somebody's commit.

Read on the driver's own cursor, because it is read very often; see ``bare``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
_ALIAS: sa.BindParameter[str] = sa.bindparam("alias")
_VERSION: sa.BindParameter[int] = sa.bindparam("version")
_ID: sa.BindParameter[int] = sa.bindparam("id")
_LIVE_MODEL = sa.and_(models.c.name == _MODEL, models.c.delete_time.is_(None))
_LIVE_VERSION = sa.and_(versions.c.model_id == models.c.id, versions.c.delete_time.is_(None))


_BY_VERSION = compiled(
    sa.select(versions.c.version).where(_LIVE_MODEL, _LIVE_VERSION, versions.c.version == _VERSION)
)
_BY_ALIAS = compiled(
    sa.select(aliases.c.version).where(
        _LIVE_MODEL, aliases.c.model_id == models.c.id, aliases.c.alias == _ALIAS
    )
)
_BY_NAME = compiled(
    sa.select(
        sa.func.coalesce(
            sa.select(aliases.c.version)
            .where(aliases.c.model_id == models.c.id, aliases.c.alias == _ALIAS)
            .scalar_subquery(),
            sa.select(sa.func.max(versions.c.version)).where(_LIVE_VERSION).scalar_subquery(),
        )
    ).where(_LIVE_MODEL)
)
_LOAD = compiled(
    sa.select(
        versions.c.id,
        versions.c.kind,
        versions.c.metadata,
        versions.c.size,
        versions.c.digest,
        versions.c.create_time,
    ).where(_LIVE_MODEL, _LIVE_VERSION, versions.c.version == _VERSION)
)
_FILES = compiled(
    sa.select(version_files.c.path, version_files.c.digest, version_files.c.size)
    .where(version_files.c.version_id == _ID)
    .order_by(version_files.c.path)
)
_PARENTS = compiled(
    sa.select(version_parents.c.parent)
    .where(version_parents.c.version_id == _ID)
    .order_by(version_parents.c.position)
)


def find(
    database: Database, ref: ModelRef, known: Mapping[tuple[str, int], ModelVersion]
) -> ModelVersion | None:
    """The version that ``ref`` means now, taken from ``known`` if it is there: it never changes.

    None when it means none; ``Reader.load`` says why. All of it is read in one snapshot: between
    two the alias may move, and the version that it pointed to may go.
    """
    with database.cursor() as cursor:
        number = _number(cursor, ref)
        if number is None:
            return None
        return known.get((ref.model, number)) or _load(cursor, ref.model, number)


def _number(cursor: Any, ref: ModelRef) -> int | None:
    if ref.version is not None:
        if ref.version > MAX_VERSION:
            return None
        cursor.execute(_BY_VERSION, {"model": ref.model, "version": ref.version})
    elif ref.alias is not None:
        cursor.execute(_BY_ALIAS, {"model": ref.model, "alias": ref.alias})
    else:
        cursor.execute(_BY_NAME, {"model": ref.model, "alias": DEFAULT_ALIAS})
    row = cursor.fetchone()
    return None if row is None else row[0]


def _load(cursor: Any, model: str, number: int) -> ModelVersion | None:
    row = cursor.execute(_LOAD, {"model": model, "version": number}).fetchone()
    if row is None:
        return None
    version_id, kind, metadata, size, digest, create_time = row
    return ModelVersion(
        model=model,
        version=number,
        kind=ModelKind(kind),
        files=tuple(File(*file) for file in cursor.execute(_FILES, {"id": version_id})),
        metadata=json.loads(metadata),
        parents=tuple(name for (name,) in cursor.execute(_PARENTS, {"id": version_id})),
        create_time=from_microseconds(create_time),
        size=size,
        digest=digest,
    )
