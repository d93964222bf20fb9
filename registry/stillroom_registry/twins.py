"""Versions that hold the same files, under whatever name."""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_registry.names import version_name
from stillroom_registry.schema import models, versions


def of_digest(
    connection: sa.Connection, digest: str, model: str | None, *, deleted: bool
) -> tuple[str, ...]:
    """Full names of the versions with that digest, newest first, those of ``model`` alone if it is
    given; with ``deleted`` also those that are gone, last."""
    query = (
        sa.select(models.c.name, versions.c.version)
        .join(models, models.c.id == versions.c.model_id)
        .where(versions.c.digest == digest)
        .order_by(versions.c.delete_time.is_not(None), versions.c.id.desc())
    )
    if model is not None:
        query = query.where(models.c.name == model)
    if not deleted:
        query = query.where(versions.c.delete_time.is_(None))
    return tuple(version_name(name, number) for name, number in connection.execute(query))
