"""Reading models and versions, each answer from one state of the database."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.bare import compiled, cursor_of
from stillroom_registry.database import Database
from stillroom_registry.errors import NotFound
from stillroom_registry.filters.query import ModelQuery
from stillroom_registry.names import DEFAULT_ALIAS, ModelRef, check_model_name
from stillroom_registry.pages import make_token, page_limit, read_token
from stillroom_registry.rows import etag, latest_version, live_model, live_version
from stillroom_registry.values import File, Model, ModelKind, ModelVersion, Page

Row = sa.Row[Any]
# The rows of a page are many enough for these to be read on the bare cursor.
_IDS = sa.func.json_each(sa.bindparam("ids")).table_valued("value")
_ALIASES = compiled(
    sa.select(schema.aliases.c.model_id, schema.aliases.c.alias, schema.aliases.c.version)
    .where(schema.aliases.c.model_id.in_(sa.select(_IDS.c.value)))
    .order_by(schema.aliases.c.model_id, schema.aliases.c.alias)
)
_LATEST = compiled(
    sa.select(
        _IDS.c.value,
        sa.select(schema.versions.c.version)
        .where(schema.versions.c.model_id == _IDS.c.value, schema.versions.c.delete_time.is_(None))
        .order_by(schema.versions.c.version.desc())
        .limit(sa.literal_column("1"))
        .offset(sa.literal_column("0"))
        .scalar_subquery(),
    )
)


class Reader:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get_model(self, name: str) -> Model:
        check_model_name(name)
        with self._database.snapshot() as connection:
            return models_of(connection, [live_model(connection, name)])[0]

    def list_models(self, query: ModelQuery, page_size: int, page_token: str) -> Page[Model]:
        limit = page_limit(page_size)
        statement = query.statement(page_token).limit(limit + 1)
        with self._database.snapshot() as connection:
            rows = connection.execute(statement).all()
            models = models_of(connection, rows[:limit])
        return Page(tuple(models), query.token(rows[limit - 1]) if len(rows) > limit else "")

    def list_versions(self, model: str, page_size: int, page_token: str) -> Page[ModelVersion]:
        """Newest first."""
        check_model_name(model)
        limit = page_limit(page_size)
        listing = f"versions {model}"
        before = read_token(listing, page_token, int)
        table = schema.versions
        with self._database.snapshot() as connection:
            row = live_model(connection, model)
            query = sa.select(table).where(
                table.c.model_id == row.id, table.c.delete_time.is_(None)
            )
            if before is not None:
                query = query.where(table.c.version < before)
            rows = connection.execute(query.order_by(table.c.version.desc()).limit(limit + 1)).all()
            versions = versions_of(connection, model, rows[:limit])
        return Page(
            tuple(versions), make_token(listing, versions[-1].version) if len(rows) > limit else ""
        )

    def load(self, ref: ModelRef) -> ModelVersion:
        """The version that ``ref`` means now.

        A bare name is its alias ``default`` if set, else its highest version. Raises NotFound:
        MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, NO_VERSIONS.
        """
        with self._database.snapshot() as connection:
            model = live_model(connection, ref.model)
            number = ref.version
            if number is None:
                number = target_of(connection, model, ref.alias)
            row = live_version(connection, model, number, field="model")
            return versions_of(connection, ref.model, [row])[0]


def target_of(connection: sa.Connection, model: Row, alias: str | None) -> int:
    """The version that the alias means, or without one the bare name; NotFound as ``load``."""
    table = schema.aliases
    target = connection.execute(
        sa.select(table.c.version).where(
            table.c.model_id == model.id, table.c.alias == (alias or DEFAULT_ALIAS)
        )
    ).scalar_one_or_none()
    if target is not None:
        return int(target)
    if alias is not None:
        raise NotFound(
            f"The model {model.name} has no alias {alias}.",
            reason="ALIAS_NOT_FOUND",
            field="model",
            metadata={"model": model.name, "alias": alias},
        )
    latest = latest_version(connection, model.id)
    if latest is None:
        raise NotFound(
            f"The model {model.name} has no version left; publish one.",
            reason="NO_VERSIONS",
            field="model",
            metadata={"model": model.name},
        )
    return latest


def models_of(connection: sa.Connection, rows: Sequence[Row]) -> list[Model]:
    """The models of rows of ``models``."""
    cursor = cursor_of(connection)
    ids = {"ids": json.dumps([row.id for row in rows])}
    aliases: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for model_id, alias, version in cursor.execute(_ALIASES, ids):
        aliases[model_id][alias] = version
    latest = dict(cursor.execute(_LATEST, ids))
    return [
        Model(
            name=row.name,
            kind=ModelKind(row.kind),
            description=row.description,
            labels=row.labels,
            create_time=row.create_time,
            update_time=row.update_time,
            latest_version=latest.get(row.id),
            aliases=aliases.get(row.id, {}),
            etag=etag(row),
        )
        for row in rows
    ]


def versions_of(connection: sa.Connection, model: str, rows: Sequence[Row]) -> list[ModelVersion]:
    """The versions of rows of ``versions``, all of one model."""
    ids = [row.id for row in rows]
    table = schema.version_files
    files: defaultdict[int, list[File]] = defaultdict(list)
    for file in connection.execute(
        sa.select(table).where(table.c.version_id.in_(ids)).order_by(table.c.path)
    ):
        files[file.version_id].append(File(file.path, file.digest, file.size))
    lineage = schema.version_parents
    parents: defaultdict[int, list[str]] = defaultdict(list)
    for parent in connection.execute(
        sa.select(lineage).where(lineage.c.version_id.in_(ids)).order_by(lineage.c.position)
    ):
        parents[parent.version_id].append(parent.parent)
    return [
        ModelVersion(
            model=model,
            version=row.version,
            kind=ModelKind(row.kind),
            files=tuple(files[row.id]),
            metadata=row.metadata,
            parents=tuple(parents[row.id]),
            create_time=row.create_time,
            size=row.size,
            digest=row.digest,
        )
        for row in rows
    ]
