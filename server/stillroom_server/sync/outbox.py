"""The outbox: every push and pull from the moment it is asked for, and what is known of the remote.

A row is written with its operation, so neither is there without the other. Before anything is sent
that cannot be undone, the row says on which commit it is to be built; after a crash that commit and
the operation's own name, which the sent commit carries, tell whether it arrived.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_server.sync import migrations
from stillroom_server.sync.schema import hub_syncs
from stillroom_server.sync.values import Direction, Sync, SyncState

_MAX_MESSAGE = 2000  # characters
_KEPT = 500  # ended syncs of a model


class Outbox:
    """Safe between threads and processes. Opening upgrades the table."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self.database = database
        self._clock = clock
        migrations.upgrade(database)

    def add(self, connection: sa.Connection, sync: Sync) -> None:
        """In the transaction that queues the operation; one that is there already stays."""
        known = connection.execute(
            sa.select(hub_syncs.c.id).where(hub_syncs.c.operation == sync.operation)
        ).first()
        if known is not None:
            return
        now = self._clock()
        values = dataclasses.asdict(sync) | {"create_time": now, "update_time": now}
        values["paths"] = json.dumps(sync.paths)
        connection.execute(sa.insert(hub_syncs).values(**values))
        self._forget(connection, sync.model)

    def begin(self, connection: sa.Connection, sync: Sync) -> Sync:
        """The row of the operation, now RUNNING; ``sync`` itself if there was none."""
        self.add(connection, sync)
        self.change(connection, sync.operation, state=SyncState.RUNNING)
        return _get(connection, sync.operation)

    def change(self, connection: sa.Connection, operation: str, **values: Any) -> None:
        """Columns of the operation's row."""
        if "paths" in values:
            values["paths"] = json.dumps(list(values["paths"]))
        if "message" in values:
            values["message"] = values["message"][:_MAX_MESSAGE]
        connection.execute(
            sa.update(hub_syncs)
            .where(hub_syncs.c.operation == operation)
            .values(update_time=self._clock(), **values)
        )

    def of_repo(self, model: str, endpoint: str, repo: str) -> list[Sync]:
        """The syncs of a model with a repository, newest first."""
        query = sa.select(hub_syncs).where(
            hub_syncs.c.model == model, hub_syncs.c.endpoint == endpoint, hub_syncs.c.repo == repo
        )
        with self.database.read() as connection:
            return [_sync(row) for row in connection.execute(_newest(query))]

    def of_versions(self, model: str, versions: Collection[int]) -> dict[int, list[Sync]]:
        """The syncs of each of a model's ``versions``, newest first; only the newest of each
        direction, repository and branch."""
        query = sa.select(hub_syncs).where(
            hub_syncs.c.model == model, hub_syncs.c.version.in_(versions)
        )
        found: dict[int, list[Sync]] = {number: [] for number in versions}
        seen: set[object] = set()
        with self.database.read() as connection:
            for row in connection.execute(_newest(query)):
                line = (row.version, row.direction, row.endpoint, row.repo, row.branch)
                if line not in seen:
                    seen.add(line)
                    found[row.version].append(_sync(row))
        return found

    def holding(
        self, connection: sa.Connection, model: str, endpoint: str, repo: str, commit: str
    ) -> list[int]:
        """The versions of a model that a commit holds, the newest first, deleted ones too."""
        query = sa.select(hub_syncs.c.version).where(
            hub_syncs.c.model == model,
            hub_syncs.c.endpoint == endpoint,
            hub_syncs.c.repo == repo,
            hub_syncs.c.commit == commit,
            hub_syncs.c.state == SyncState.DONE,
        )
        return [number for number in connection.execute(_newest(query)).scalars() if number]

    def counts(self) -> dict[tuple[Direction, SyncState], int]:
        """How many syncs there are by direction and state, as the rows have it."""
        columns = (hub_syncs.c.direction, hub_syncs.c.state)
        query = sa.select(*columns, sa.func.count()).group_by(*columns)
        with self.database.read() as connection:
            found = connection.execute(query).all()
        return {(Direction(way), SyncState(state)): count for way, state, count in found}

    def unended(self) -> list[Sync]:
        """Those that have not ended, as the rows have it."""
        states = (SyncState.PENDING, SyncState.RUNNING)
        query = sa.select(hub_syncs).where(hub_syncs.c.state.in_(states))
        with self.database.read() as connection:
            return [_sync(row) for row in connection.execute(query)]

    def _forget(self, connection: sa.Connection, model: str) -> None:
        """Drops the oldest of a model's ended syncs, but for the newest done of each branch, which
        says where the remote was left."""
        table = hub_syncs
        ended = [state for state in SyncState if state.ended]
        last = connection.execute(
            sa.select(table.c.id)
            .where(table.c.model == model)
            .order_by(table.c.id.desc())
            .offset(_KEPT)
            .limit(1)
        ).scalar_one_or_none()
        if last is None:
            return
        kept = (
            sa.select(sa.func.max(table.c.id))
            .where(table.c.model == model, table.c.state == SyncState.DONE)
            .group_by(table.c.endpoint, table.c.repo, table.c.branch)
        )
        connection.execute(
            sa.delete(table).where(
                table.c.model == model,
                table.c.id <= last,
                table.c.state.in_(ended),
                table.c.id.not_in(kept),
            )
        )


def _newest(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(hub_syncs.c.id.desc())


def _get(connection: sa.Connection, operation: str) -> Sync:
    row = connection.execute(sa.select(hub_syncs).where(hub_syncs.c.operation == operation)).one()
    return _sync(row)


def _sync(row: sa.Row[Any]) -> Sync:
    values = dict(row._mapping)
    del values["id"]
    values["direction"] = Direction(row.direction)
    values["state"] = SyncState(row.state)
    values["paths"] = tuple(json.loads(row.paths))
    return Sync(**values)
