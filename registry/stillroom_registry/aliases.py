"""Aliases: names that move between versions, and the history of their moves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.database import Database
from stillroom_registry.errors import Aborted, FailedPrecondition, NotFound
from stillroom_registry.names import check_alias_name, check_model_name, version_name
from stillroom_registry.pages import make_token, page_limit, read_token
from stillroom_registry.rows import live_model, live_version, touch
from stillroom_registry.values import Alias, AliasEvent, Clock, Page


class Aliases:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def set(
        self, model: str, alias: str, version: int, *, who: str | None, expected: int | None
    ) -> Alias:
        check_model_name(model)
        check_alias_name(alias)
        with self._database.write() as connection:
            row = live_model(connection, model)
            live_version(connection, row, version)
            current = _current(connection, row.id, alias)
            _check_expected(model, alias, current, expected)
            if current is not None and current.version == version:
                return Alias(model, alias, version, current.update_time)
            now = self._clock()
            move(connection, row.id, alias, current and current.version, version, who, now)
            touch(connection, row.id, now)
            return Alias(model, alias, version, now)

    def delete(self, model: str, alias: str, *, who: str | None) -> None:
        check_model_name(model)
        check_alias_name(alias)
        with self._database.write() as connection:
            row = live_model(connection, model)
            current = _current(connection, row.id, alias)
            if current is None:
                raise _no_alias(model, alias)
            now = self._clock()
            move(connection, row.id, alias, current.version, None, who, now)
            touch(connection, row.id, now)

    def roll_back(self, model: str, alias: str, *, who: str | None, expected: int | None) -> Alias:
        """Undo the alias's last move, by one more move."""
        check_model_name(model)
        check_alias_name(alias)
        with self._database.write() as connection:
            row = live_model(connection, model)
            current = _current(connection, row.id, alias)
            _check_expected(model, alias, current, expected)
            last = _last_move(connection, row.id, alias)
            if last is None:
                raise _no_alias(model, alias)
            _check_target(connection, model, row.id, last)
            now = self._clock()
            old = current and current.version
            move(connection, row.id, alias, old, last.from_version, who, now)
            touch(connection, row.id, now)
            return Alias(model, alias, last.from_version, now)

    def list(self, model: str) -> tuple[Alias, ...]:
        check_model_name(model)
        table = schema.aliases
        with self._database.snapshot() as connection:
            row = live_model(connection, model)
            found = connection.execute(
                sa.select(table).where(table.c.model_id == row.id).order_by(table.c.alias)
            ).all()
        return tuple(Alias(model, each.alias, each.version, each.update_time) for each in found)

    def events(
        self, model: str, alias: str | None, page_size: int, page_token: str
    ) -> Page[AliasEvent]:
        check_model_name(model)
        limit = page_limit(page_size)
        listing = f"alias-events {model} {alias or ''}"
        before = read_token(listing, page_token, int)
        table = schema.alias_events
        with self._database.snapshot() as connection:
            row = live_model(connection, model)
            query = sa.select(table).where(table.c.model_id == row.id)
            if alias is not None:
                query = query.where(table.c.alias == check_alias_name(alias))
            if before is not None:
                query = query.where(table.c.id < before)
            rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit + 1)).all()
        page = rows[:limit]
        events = tuple(
            AliasEvent(model, each.alias, each.from_version, each.to_version, each.who, each.time)
            for each in page
        )
        return Page(events, make_token(listing, page[-1].id) if len(rows) > limit else "")


def move(
    connection: sa.Connection,
    model_id: int,
    alias: str,
    old: int | None,
    new: int | None,
    who: str | None,
    now: datetime,
) -> None:
    """Change one alias and write its history, in the caller's transaction."""
    table = schema.aliases
    here = sa.and_(table.c.model_id == model_id, table.c.alias == alias)
    if new is None:
        connection.execute(sa.delete(table).where(here))
    elif old is None:
        connection.execute(
            sa.insert(table).values(model_id=model_id, alias=alias, version=new, update_time=now)
        )
    else:
        connection.execute(sa.update(table).where(here).values(version=new, update_time=now))
    connection.execute(
        sa.insert(schema.alias_events).values(
            model_id=model_id, alias=alias, from_version=old, to_version=new, who=who, time=now
        )
    )


def _current(connection: sa.Connection, model_id: int, alias: str) -> sa.Row[Any] | None:
    table = schema.aliases
    return connection.execute(
        sa.select(table).where(table.c.model_id == model_id, table.c.alias == alias)
    ).first()


def _last_move(connection: sa.Connection, model_id: int, alias: str) -> sa.Row[Any] | None:
    table = schema.alias_events
    return connection.execute(
        sa.select(table)
        .where(table.c.model_id == model_id, table.c.alias == alias)
        .order_by(table.c.id.desc())
        .limit(1)
    ).first()


def _check_target(connection: sa.Connection, model: str, model_id: int, last: sa.Row[Any]) -> None:
    """That what the alias pointed to before its last move can be pointed to again."""
    where = {"model": model, "alias": last.alias}
    if last.from_version is None:
        raise FailedPrecondition(
            f"The alias {last.alias} of {model} was new at its last move, so there is nothing to "
            "roll back to; delete it, or point it to a version.",
            reason="NOTHING_TO_ROLL_BACK",
            field="alias",
            metadata=where,
        )
    versions = schema.versions
    there = connection.execute(
        sa.select(versions.c.id).where(
            versions.c.model_id == model_id,
            versions.c.version == last.from_version,
            versions.c.delete_time.is_(None),
        )
    ).first()
    if there is None:
        name = version_name(model, last.from_version)
        raise FailedPrecondition(
            f"The alias {last.alias} pointed to {name} before, which is deleted; point it to a "
            "version that is there.",
            reason="VERSION_DELETED",
            field="alias",
            metadata={**where, "version": name},
        )


def _no_alias(model: str, alias: str) -> NotFound:
    return NotFound(
        f"The model {model} has no alias {alias}.",
        reason="ALIAS_NOT_FOUND",
        field="alias",
        metadata={"model": model, "alias": alias},
    )


def _check_expected(
    model: str, alias: str, current: sa.Row[Any] | None, expected: int | None
) -> None:
    actual = 0 if current is None else int(current.version)
    if expected is not None and expected != actual:
        where = f"points to version {actual}" if actual else "does not exist"
        raise Aborted(
            f"The alias {alias} of {model} {where}, not as expected; read it again and decide.",
            reason="ALIAS_MOVED",
            field="expected_version",
            metadata={"model": model, "alias": alias, "version": str(actual)},
        )
