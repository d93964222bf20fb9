"""What a version was made from, and what was made from it, through deletions.

Rows of versions and of their parents outlive deletion, so the walk never meets a gap. It goes up
from the version that was asked for to what it was made from, and down from it to what was made of
it, level by level with two statements each; it does not turn: what else a parent gave is no kin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.names import ModelRef, version_name
from stillroom_registry.reading import target_of
from stillroom_registry.rows import MAX_VERSION, live_model
from stillroom_registry.schema import models, version_parents, versions
from stillroom_registry.stored import batches
from stillroom_registry.values import Lineage, LineageEdge, LineageNode, ModelKind

MAX_DEPTH = 100
MAX_NODES = 10_000

_Found: TypeAlias = dict[str, sa.Row[Any]]
_Step: TypeAlias = Callable[[sa.Connection, Collection[sa.Row[Any]]], Iterable[sa.Row[Any]]]
_VERSIONS = sa.select(versions, models.c.name.label("model")).join(
    models, models.c.id == versions.c.model_id
)


class Genealogist:
    def __init__(self, database: Database) -> None:
        self._database = database

    def lineage(self, ref: ModelRef, depth: int) -> Lineage:
        if depth < 0:
            raise InvalidArgument(
                f"A depth of {depth} cannot be; leave it out for all, or give 1 to {MAX_DEPTH}.",
                reason="BAD_DEPTH",
                field="depth",
            )
        levels = min(depth or MAX_DEPTH, MAX_DEPTH)
        with self._database.snapshot() as connection:
            found = {_name(row): row for row in [_asked(connection, ref)]}
            start = list(found.values())
            truncated = [
                _walk(connection, found, start, step, levels) for step in (_parents, _children)
            ]
            return Lineage(
                nodes=tuple(_node(name, row) for name, row in found.items()),
                edges=tuple(_edges(connection, found)),
                truncated=any(truncated),
            )


def _asked(connection: sa.Connection, ref: ModelRef) -> sa.Row[Any]:
    """The version's row: by its number though it be deleted, else by what the name means now."""
    number = ref.version
    if number is None:
        number = target_of(connection, live_model(connection, ref.model), ref.alias)
    row = None
    if number <= MAX_VERSION:
        row = connection.execute(
            _VERSIONS.where(models.c.name == ref.model, versions.c.version == number)
        ).first()
    if row is None:
        name = version_name(ref.model, number)
        raise NotFound(
            f"{name} never existed.",
            reason="VERSION_NOT_FOUND",
            field="model",
            metadata={"version": name},
        )
    return row


def _walk(
    connection: sa.Connection, found: _Found, start: list[sa.Row[Any]], step: _Step, levels: int
) -> bool:
    """Add to ``found`` what is at most ``levels`` steps away; whether that was too much."""
    level = start
    for _ in range(levels):
        new = {_name(row): row for row in step(connection, level)}
        level = [row for name, row in new.items() if name not in found]
        if not level:
            return False
        if len(found) + len(level) > MAX_NODES:
            found.update((_name(row), row) for row in level[: MAX_NODES - len(found)])
            return True
        found.update((_name(row), row) for row in level)
    return False


def _parents(connection: sa.Connection, rows: Collection[sa.Row[Any]]) -> Iterable[sa.Row[Any]]:
    names: dict[str, None] = {}
    for batch in batches([row.id for row in rows]):
        names |= dict.fromkeys(
            connection.execute(
                sa.select(version_parents.c.parent)
                .where(version_parents.c.version_id.in_(batch))
                .order_by(version_parents.c.version_id, version_parents.c.position)
            ).scalars()
        )
    refs = [ModelRef.parse(name) for name in names]
    key = sa.tuple_(models.c.name, versions.c.version)
    for pairs in batches([(ref.model, ref.version) for ref in refs]):
        yield from connection.execute(_VERSIONS.where(key.in_(pairs)).order_by(versions.c.id))


def _children(connection: sa.Connection, rows: Collection[sa.Row[Any]]) -> Iterable[sa.Row[Any]]:
    for batch in batches([_name(row) for row in rows]):
        made_of = sa.select(version_parents.c.version_id).where(version_parents.c.parent.in_(batch))
        yield from connection.execute(
            _VERSIONS.where(versions.c.id.in_(made_of)).order_by(versions.c.id).limit(MAX_NODES + 1)
        )


def _edges(connection: sa.Connection, found: _Found) -> Iterable[LineageEdge]:
    """Every step between two of the versions, by child and then by the order of its parents."""
    names = {row.id: name for name, row in found.items()}
    for batch in batches(names):
        for row in connection.execute(
            sa.select(version_parents)
            .where(version_parents.c.version_id.in_(batch))
            .order_by(version_parents.c.version_id, version_parents.c.position)
        ):
            if row.parent in found:
                yield LineageEdge(row.parent, names[row.version_id], row.relation)


def _name(row: sa.Row[Any]) -> str:
    return version_name(row.model, row.version)


def _node(name: str, row: sa.Row[Any]) -> LineageNode:
    return LineageNode(
        name=name,
        kind=ModelKind(row.kind),
        deleted=row.delete_time is not None,
        create_time=row.create_time,
        metadata=row.metadata,
    )
