"""The rows of stored blobs: how many bytes there are, and how many more may come."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

import sqlalchemy as sa

from stillroom_registry.errors import ResourceExhausted
from stillroom_registry.schema import blobs

# Far below the number of parameters that any database takes in a statement.
_AT_ONCE = 500
T = TypeVar("T")


def batches(items: Collection[T]) -> Iterator[Sequence[T]]:
    """The items in pieces that fit into a statement each."""
    rest = iter(items)
    while batch := tuple(islice(rest, _AT_ONCE)):
        yield batch


def note_stored(connection: sa.Connection, sizes: Mapping[str, int], now: datetime) -> None:
    """Note that these blobs (digest to size) were just put in the store, and so are whole.

    This ends the quarantine of those that were in it.
    """
    known = _known(connection, sizes)
    for batch in batches(known):
        connection.execute(
            sa.update(blobs)
            .where(blobs.c.digest.in_(batch))
            .values(generation=blobs.c.generation + 1, check_time=now, damage=None)
        )
    new = [
        {"digest": digest, "size": size, "generation": 1, "check_time": now}
        for digest, size in sizes.items()
        if digest not in known
    ]
    if new:
        connection.execute(sa.insert(blobs), new)


def used_bytes(connection: sa.Connection) -> int:
    """Bytes of all stored blobs, those that wait for the collector included."""
    total: int | None = connection.execute(sa.select(sa.func.sum(blobs.c.size))).scalar_one()
    return total or 0


def check_quota(connection: sa.Connection, sizes: Mapping[str, int], quota: int) -> None:
    """Raises ResourceExhausted (QUOTA_EXCEEDED) unless these blobs fit beside what is stored."""
    known = _known(connection, sizes)
    needed = sum(size for digest, size in sizes.items() if digest not in known)
    used = used_bytes(connection)
    if needed and used + needed > quota:
        raise ResourceExhausted(
            f"The registry holds {used:,} bytes of {quota:,} that it may, and this needs {needed:,}"
            " more. Delete versions and collect garbage, or raise the quota.",
            reason="QUOTA_EXCEEDED",
            metadata={
                "used_bytes": str(used),
                "needed_bytes": str(needed),
                "quota_bytes": str(quota),
            },
        )


def _known(connection: sa.Connection, digests: Collection[str]) -> set[str]:
    return {
        digest
        for batch in batches(digests)
        for digest in connection.execute(
            sa.select(blobs.c.digest).where(blobs.c.digest.in_(batch))
        ).scalars()
    }
