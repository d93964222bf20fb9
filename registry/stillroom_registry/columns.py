"""Column types that mean the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(time: datetime) -> int:
    """Whole microseconds since 1970 of an aware time."""
    if time.tzinfo is None:
        raise ValueError("a time without a time zone")
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """The time in UTC that ``to_microseconds`` was given."""
    return _EPOCH + timedelta(microseconds=value)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 in UTC.

    An integer orders and compares the same everywhere; SQLite has no date type of its own.
    """

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002
    ) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(
        self,
        value: Any | None,
        dialect: sa.Dialect,  # noqa: ARG002
    ) -> datetime | None:
        return None if value is None else from_microseconds(int(value))
