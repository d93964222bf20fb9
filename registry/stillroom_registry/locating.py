"""Which version a name means, by one statement: what a resolve costs after somebody's commit.

The statements are built once; building them anew takes longer than running them.
"""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_registry.names import DEFAULT_ALIAS, ModelRef
from stillroom_registry.schema import aliases, models, versions

_MODEL: sa.BindParameter[str] = sa.bindparam("model")
_ALIAS: sa.BindParameter[str] = sa.bindparam("alias")
_VERSION: sa.BindParameter[int] = sa.bindparam("version")
_LIVE_MODEL = sa.and_(models.c.name == _MODEL, models.c.delete_time.is_(None))
_LIVE_VERSION = sa.and_(versions.c.model_id == models.c.id, versions.c.delete_time.is_(None))

_BY_VERSION = sa.select(versions.c.version).where(
    _LIVE_MODEL, _LIVE_VERSION, versions.c.version == _VERSION
)
_BY_ALIAS = sa.select(aliases.c.version).where(
    _LIVE_MODEL, aliases.c.model_id == models.c.id, aliases.c.alias == _ALIAS
)
_BY_NAME = sa.select(
    sa.func.coalesce(
        sa.select(aliases.c.version)
        .where(aliases.c.model_id == models.c.id, aliases.c.alias == DEFAULT_ALIAS)
        .scalar_subquery(),
        sa.select(sa.func.max(versions.c.version)).where(_LIVE_VERSION).scalar_subquery(),
    )
).where(_LIVE_MODEL)


def locate(database: Database, ref: ModelRef) -> int | None:
    """The number of the version that ``ref`` means now; None when it means none.

    ``Reader.load`` answers the same with the version itself, or says why there is none.
    """
    with database.read() as connection:
        if ref.version is not None:
            found = connection.execute(_BY_VERSION, {"model": ref.model, "version": ref.version})
        elif ref.alias is not None:
            found = connection.execute(_BY_ALIAS, {"model": ref.model, "alias": ref.alias})
        else:
            found = connection.execute(_BY_NAME, {"model": ref.model})
        number: int | None = found.scalar_one_or_none()
    return number
