"""Whether the database can be believed when it says that nothing refers to a blob."""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.errors import DataLoss

_TABLES = (schema.versions, schema.version_files, schema.leases, schema.lease_blobs)


def check_sound(connection: sa.Connection) -> None:
    """Compare the tables that name blobs with their indexes, or DataLoss (DATABASE_DAMAGED).

    A lookup that misses an entry because an index lost it would read as "nothing refers to it".
    """
    if connection.dialect.name != "sqlite":
        return
    for table in _TABLES:
        (found,) = connection.exec_driver_sql(
            f"PRAGMA integrity_check('{table.name}')"
        ).first() or ("",)
        if found != "ok":
            raise DataLoss(
                f"The database is damaged ({found}), so nothing is removed; restore it from a "
                "backup, or rebuild its indexes by REINDEX.",
                reason="DATABASE_DAMAGED",
            )
