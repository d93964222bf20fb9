"""Garbage collection: what no version and no lease refers to, after a grace period.

``doomed`` decides from plain values and does no I/O. The database is read first, and before
anything goes its indexes are held against its tables; if either fails, nothing is removed. What was
chosen is looked at again in short write transactions and removed inside them, so no publish can
begin to refer to a blob between the look and the removal (see ``leases``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.blobs import BlobStore, StoredBlob
from stillroom_registry.database import Database
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.folders import Folders
from stillroom_registry.scratch import sweep_abandoned
from stillroom_registry.soundness import check_sound
from stillroom_registry.stored import batches
from stillroom_registry.values import GarbageReport


def doomed(
    stored: Iterable[StoredBlob], referenced: AbstractSet[str], cutoff: datetime
) -> list[StoredBlob]:
    """The blobs that nothing refers to and that were put there before ``cutoff``."""
    return [b for b in stored if b.digest not in referenced and b.stored <= cutoff]


class Collector:
    def __init__(
        self, database: Database, blobs: BlobStore, folders: Folders, scratch_root: Path
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._folders = folders
        self._scratch_root = scratch_root

    def collect(
        self, *, grace: timedelta, now: datetime, dry_run: bool, check: Callable[[], None] | None
    ) -> GarbageReport:
        if grace < timedelta(0):
            raise InvalidArgument("The grace period is negative.", field="grace")
        with self._database.snapshot() as connection:
            referenced = _referenced(connection, None, now)
            live = _live_manifests(connection, None)
            expired = _expired_leases(connection, now)
        stored = list(self._blobs.stored())
        victims = doomed(stored, referenced, now - grace)
        folders = [name for name in self._folders.names() if f"sha256:{name}" not in live]
        if victims or folders:
            # Not without need: on a large registry it takes seconds.
            with self._database.snapshot() as connection:
                check_sound(connection)
        if dry_run:
            abandoned = sweep_abandoned(self._scratch_root, dry_run=True)
            return _report(stored, victims, len(folders), abandoned, expired)
        expired = self._expire_leases(now)
        folders_deleted, removed = 0, list[StoredBlob]()
        for names in batches(folders):
            _call(check)
            folders_deleted += self._delete_folders(names)
        for batch in batches(victims):
            _call(check)
            removed += self._delete(batch, now)
        self._forget_absent({blob.digest for blob in stored} - {blob.digest for blob in removed})
        scratch = sweep_abandoned(self._scratch_root)
        return _report(stored, removed, folders_deleted, scratch, expired)

    def _expire_leases(self, now: datetime) -> int:
        leases = schema.leases
        with self._database.write() as connection:
            return connection.execute(sa.delete(leases).where(leases.c.expire_time <= now)).rowcount

    def _delete(self, batch: Sequence[StoredBlob], now: datetime) -> list[StoredBlob]:
        with self._database.write() as connection:
            referenced = _referenced(connection, [blob.digest for blob in batch], now)
            removed = [
                blob
                for blob in batch
                if blob.digest not in referenced and self._blobs.delete(blob.digest)
            ]
            _forget(connection, [blob.digest for blob in removed])
            return removed

    def _forget_absent(self, present: AbstractSet[str]) -> None:
        """Drop rows of blobs that an interrupted collection removed without getting to them."""
        rows, files = schema.blobs, schema.version_files
        unused = ~sa.exists().where(files.c.digest == rows.c.digest)
        with self._database.read() as connection:
            digests = connection.execute(sa.select(rows.c.digest).where(unused)).scalars()
            absent = [digest for digest in digests if digest not in present]
        for batch in batches(absent):
            with self._database.write() as connection:
                still = connection.execute(
                    sa.select(rows.c.digest).where(rows.c.digest.in_(batch), unused)
                ).scalars()
                _forget(connection, [each for each in still if not self._blobs.exists(each)])

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


def _expired_leases(connection: sa.Connection, now: datetime) -> int:
    leases = schema.leases
    query = sa.select(sa.func.count()).select_from(leases).where(leases.c.expire_time <= now)
    count: int = connection.execute(query).scalar_one()
    return count


def _forget(connection: sa.Connection, digests: Collection[str]) -> None:
    rows = schema.blobs
    connection.execute(sa.delete(rows).where(rows.c.digest.in_(digests)))


def _report(
    stored: Sequence[StoredBlob],
    removed: Sequence[StoredBlob],
    folders: int,
    scratch: int,
    leases: int,
) -> GarbageReport:
    return GarbageReport(
        blobs_deleted=len(removed),
        bytes_freed=sum(blob.size for blob in removed),
        blobs_kept=len(stored) - len(removed),
        folders_deleted=folders,
        scratch_deleted=scratch,
        leases_expired=leases,
    )


def _call(check: Callable[[], None] | None) -> None:
    if check is not None:
        check()
