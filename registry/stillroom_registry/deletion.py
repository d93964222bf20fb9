"""Deleting: the names go at once, tombstones stay, the bytes are left to the collector."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.aliases import move
from stillroom_registry.database import Database
from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.names import check_model_name, version_name
from stillroom_registry.rows import check_etag, live_model, live_version, touch
from stillroom_registry.values import Clock


class Deleter:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def delete_version(self, model: str, version: int, *, force: bool, who: str | None) -> None:
        check_model_name(model)
        with self._database.write() as connection:
            row = live_model(connection, model)
            found = live_version(connection, row, version)
            aliases = schema.aliases
            pointing = connection.execute(
                sa.select(aliases).where(aliases.c.model_id == row.id, aliases.c.version == version)
            ).all()
            _refuse_unless(force, version_name(model, version), pointing)
            now = self._clock()
            _drop_aliases(connection, pointing, who, now)
            _bury(connection, [found.id], now)
            touch(connection, row.id, now)

    def delete_model(
        self, model: str, *, force: bool, who: str | None, expected_etag: str | None
    ) -> None:
        check_model_name(model)
        with self._database.write() as connection:
            row = live_model(connection, model)
            check_etag(row, expected_etag)
            aliases, versions = schema.aliases, schema.versions
            pointing = connection.execute(
                sa.select(aliases).where(aliases.c.model_id == row.id)
            ).all()
            _refuse_unless(force, f"models/{model}", pointing)
            now = self._clock()
            _drop_aliases(connection, pointing, who, now)
            live = connection.execute(
                sa.select(versions.c.id).where(
                    versions.c.model_id == row.id, versions.c.delete_time.is_(None)
                )
            ).scalars()
            _bury(connection, list(live), now)
            table = schema.models
            connection.execute(sa.update(table).where(table.c.id == row.id).values(delete_time=now))
            touch(connection, row.id, now)


def _refuse_unless(force: bool, name: str, pointing: Sequence[sa.Row[Any]]) -> None:
    if pointing and not force:
        names = ", ".join(sorted(row.alias for row in pointing))
        raise FailedPrecondition(
            f"{name} is in use by the alias {names}; move it first, or force the deletion, which "
            "removes the alias too.",
            reason="ALIAS_POINTS_HERE",
            field="force",
            metadata={"name": name, "aliases": names},
        )


def _drop_aliases(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]], who: str | None, now: datetime
) -> None:
    for row in rows:
        move(connection, row.model_id, row.alias, row.version, None, who, now)


def _bury(connection: sa.Connection, version_ids: list[int], now: datetime) -> None:
    """Tombstones for versions: lineage stays, the references to blobs go."""
    versions, files = schema.versions, schema.version_files
    for version_id in version_ids:
        connection.execute(sa.delete(files).where(files.c.version_id == version_id))
        connection.execute(
            sa.update(versions).where(versions.c.id == version_id).values(delete_time=now)
        )
