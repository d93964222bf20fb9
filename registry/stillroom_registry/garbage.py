"""Garbage collection: what no version and no lease refers to, after a grace period.

``doomed`` decides from plain values and does no I/O. The database is read first; if that fails,
nothing is removed. What it chose is looked at again in short write transactions and removed inside
them, so no publish can begin to refer to a blob between the look and the removal (see ``leases``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.blobs import BlobSweeper, StoredBlob
from stillroom_registry.database import Database
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.folders import Folders
from stillroom_registry.scratch import sweep_abandoned
from stillroom_registry.values import GarbageReport

# A batch is removed in one transaction, for which every writer waits: a few milliseconds.
_BATCH = 200
T = TypeVar("T")


def doomed(
    stored: Iterable[StoredBlob], referenced: AbstractSet[str], cutoff: datetime
) -> list[StoredBlob]:
    """The blobs that nothing refers to and that were put there before ``cutoff``."""
    return [b for b in stored if b.digest not in referenced and b.stored <= cutoff]


class Collector:
    def __init__(
        self, database: Database, blobs: BlobSweeper, folders: Folders, scratch_root: Path
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._folders = folders
        self._scratch_root = scratch_root

    def collect(self, *, grace: timedelta, now: datetime) -> GarbageReport:
        if grace < timedelta(0):
            raise InvalidArgument("The grace period is negative.", field="grace")
        with self._database.snapshot() as connection:
            referenced = _referenced(connection, None, now)
            live = _live_manifests(connection, None)
        stored = list(self._blobs.stored())
        victims = doomed(stored, referenced, now - grace)
        folders = [name for name in self._folders.names() if f"sha256:{name}" not in live]
        expired = self._expire_leases(now)
        folders_deleted = sum(self._delete_folders(batch) for batch in _batches(folders))
        removed = [blob for batch in _batches(victims) for blob in self._delete(batch, now)]
        return GarbageReport(
            blobs_deleted=len(removed),
            bytes_freed=sum(blob.size for blob in removed),
            blobs_kept=len(stored) - len(removed),
            folders_deleted=folders_deleted,
            scratch_deleted=sweep_abandoned(self._scratch_root),
            leases_expired=expired,
        )

    def _expire_leases(self, now: datetime) -> int:
        leases = schema.leases
        with self._database.write() as connection:
            return connection.execute(sa.delete(leases).where(leases.c.expire_time <= now)).rowcount

    def _delete(self, batch: Sequence[StoredBlob], now: datetime) -> list[StoredBlob]:
        with self._database.write() as connection:
            referenced = _referenced(connection, [blob.digest for blob in batch], now)
            return [
                blob
                for blob in batch
                if blob.digest not in referenced and self._blobs.delete(blob.digest)
            ]

    def _delete_folders(self, batch: Sequence[str]) -> int:
        with self._database.write() as connection:
            live = _live_manifests(connection, [f"sha256:{name}" for name in batch])
            dead = [name for name in batch if f"sha256:{name}" not in live]
            for name in dead:
                self._folders.delete(name)
            return len(dead)


def _referenced(connection: sa.Connection, among: Sequence[str] | None, now: datetime) -> set[str]:
    """Digests that a live version or an unexpired lease names; only those ``among``, if given."""
    files, leased, leases = schema.version_files, schema.lease_blobs, schema.leases
    by_version = sa.select(files.c.digest).distinct()
    by_lease = sa.select(leased.c.digest).join(leases).where(leases.c.expire_time > now)
    if among is not None:
        by_version = by_version.where(files.c.digest.in_(among))
        by_lease = by_lease.where(leased.c.digest.in_(among))
    found = set(connection.execute(by_version).scalars())
    return found | set(connection.execute(by_lease).scalars())


def _live_manifests(connection: sa.Connection, among: Sequence[str] | None) -> set[str]:
    table = schema.versions
    query = sa.select(table.c.digest).where(table.c.delete_time.is_(None))
    if among is not None:
        query = query.where(table.c.digest.in_(among))
    return set(connection.execute(query).scalars())


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
