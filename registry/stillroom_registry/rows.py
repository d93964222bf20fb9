"""Statements that several parts of the registry share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.errors import Aborted, NotFound
from stillroom_registry.names import version_name

MAX_VERSION = 2**63 - 1


def model_row(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """The model's row, deleted or not."""
    return connection.execute(sa.select(schema.models).where(schema.models.c.name == name)).first()


def live_model(connection: sa.Connection, name: str, field: str = "model") -> sa.Row[Any]:
    """The row of a model that is not deleted, or NotFound (MODEL_NOT_FOUND)."""
    row = model_row(connection, name)
    if row is None or row.delete_time is not None:
        raise NotFound(
            f"There is no model {name}.",
            reason="MODEL_NOT_FOUND",
            field=field,
            metadata={"model": name},
        )
    return row


def live_version(
    connection: sa.Connection, model: sa.Row[Any], version: int, field: str = "version"
) -> sa.Row[Any]:
    """The row of a version that is not deleted, or NotFound (VERSION_NOT_FOUND)."""
    table = schema.versions
    row = None
    if 0 < version <= MAX_VERSION:
        row = connection.execute(
            sa.select(table).where(
                table.c.model_id == model.id,
                table.c.version == version,
                table.c.delete_time.is_(None),
            )
        ).first()
    if row is None:
        name = version_name(model.name, version)
        raise NotFound(
            f"There is no {name}.",
            reason="VERSION_NOT_FOUND",
            field=field,
            metadata={"version": name},
        )
    return row


def latest_version(connection: sa.Connection, model_id: int) -> int | None:
    """The highest version that is not deleted."""
    table = schema.versions
    latest: int | None = connection.execute(
        sa.select(sa.func.max(table.c.version)).where(
            table.c.model_id == model_id, table.c.delete_time.is_(None)
        )
    ).scalar_one()
    return latest


def touch(connection: sa.Connection, model_id: int, now: datetime) -> None:
    """Note that the model, or what hangs on it, changed: a new etag."""
    table = schema.models
    connection.execute(
        sa.update(table)
        .where(table.c.id == model_id)
        .values(revision=table.c.revision + 1, update_time=now)
    )


def etag(model: sa.Row[Any]) -> str:
    return f"{model.id:x}-{model.revision:x}"


def check_etag(model: sa.Row[Any], expected: str | None) -> None:
    """Aborted (ETAG_MISMATCH) unless ``expected`` is None or the model's."""
    if expected is not None and expected != etag(model):
        raise Aborted(
            f"The model {model.name} changed since it was read; read it again and decide.",
            reason="ETAG_MISMATCH",
            field="etag",
            metadata={"model": model.name},
        )
