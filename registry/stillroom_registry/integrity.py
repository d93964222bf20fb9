"""Are the bytes still those that were published? Hashing them again, and quarantine.

A blob that was found damaged is in quarantine, and with it every version that has it: its files are
refused until whole bytes of that digest are in the store again, by whoever published or imported
them, or until it is verified and found whole. Nothing is removed for being damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from stillroom_registry.blobs import BlobReader
from stillroom_registry.database import Database
from stillroom_registry.errors import DataLoss
from stillroom_registry.reading import versions_of
from stillroom_registry.schema import blobs, models, version_files, versions
from stillroom_registry.stored import batches
from stillroom_registry.values import Clock, File, IntegrityState, ModelVersion, Verification

_SHOWN = 3
_VERDICT = (
    sa.update(blobs)
    .where(
        blobs.c.digest == sa.bindparam("looked_at"),
        blobs.c.generation == sa.bindparam("seen"),
    )
    .values(damage=sa.bindparam("found"), check_time=sa.bindparam("time"))
)


class Integrity:
    def __init__(self, database: Database, store: BlobReader, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        # Replaced whole, as the resolver's memory of names is; see there.
        self._known: tuple[int, frozenset[str]] = (-1, frozenset())

    def damaged_files(self, version: ModelVersion) -> tuple[File, ...]:
        """The version's files that are in quarantine; microseconds while nothing is committed."""
        damaged = self._damaged()
        if not damaged:
            return ()
        return tuple(file for file in version.files if file.digest in damaged)

    def check(self, version: ModelVersion, path: str | None = None) -> None:
        """DataLoss (QUARANTINED) when a file of the version, or that one, is in quarantine."""
        damaged = self.damaged_files(version)
        if path is not None:
            damaged = tuple(file for file in damaged if file.path == path)
        if damaged:
            raise quarantined(version, damaged)

    def verify(
        self,
        version: ModelVersion,
        *,
        on_bytes: Callable[[int], None] | None,
        check: Callable[[], None] | None,
    ) -> Verification:
        sizes = {file.digest: file.size for file in version.files}
        generations = self._generations(sizes)
        verdicts: dict[str, str | None] = {}
        done = 0

        def hashed(count: int) -> None:
            nonlocal done
            done += count
            if check is not None:
                check()
            if on_bytes is not None:
                on_bytes(done)

        for digest in sizes:
            try:
                self._store.verify(digest, hashed)
            except DataLoss as error:
                verdicts[digest] = error.reason
            else:
                verdicts[digest] = None
        self._record(verdicts, generations)
        damaged = tuple(file for file in version.files if verdicts[file.digest] is not None)
        return Verification(damaged, done)

    def quarantine(self, version: ModelVersion, damaged: Iterable[File]) -> None:
        """Put files of the version in quarantine on somebody else's word."""
        reported = {file.digest for file in damaged}
        found: dict[str, str | None] = {
            file.digest: "REPORTED" for file in version.files if file.digest in reported
        }
        self._record(found, self._generations(found))

    def due(self, before: datetime, limit: int) -> tuple[ModelVersion, ...]:
        """Versions with a blob that was not looked at since ``before``, the longest ago first."""
        # Of the versions that share a blob any will do: the others' blobs have their own turn.
        user = (
            sa.select(version_files.c.version_id)
            .where(version_files.c.digest == blobs.c.digest)
            .limit(1)
            .scalar_subquery()
        )
        oldest = (
            sa.select(user)
            .where(blobs.c.check_time <= before, user.is_not(None))
            .order_by(blobs.c.check_time)
            .limit(limit)
        )
        with self._database.snapshot() as connection:
            ids = list(dict.fromkeys(connection.execute(oldest).scalars()))
            rows = {
                row.id: row
                for row in connection.execute(
                    sa.select(versions, models.c.name)
                    .join(models, models.c.id == versions.c.model_id)
                    .where(versions.c.id.in_(ids))
                )
            }
            return tuple(versions_of(connection, rows[each].name, [rows[each]])[0] for each in ids)

    def state(self) -> IntegrityState:
        """Asked at every scrape: two short statements by index."""
        files = version_files
        damaged = (
            sa.select(sa.func.count(files.c.version_id.distinct()))
            .join(blobs, blobs.c.digest == files.c.digest)
            .where(blobs.c.damage.is_not(None))
        )
        used = sa.exists().where(files.c.digest == blobs.c.digest)
        oldest = sa.select(blobs.c.check_time).where(used).order_by(blobs.c.check_time).limit(1)
        with self._database.read() as connection:
            return IntegrityState(
                connection.execute(damaged).scalar_one(),
                connection.execute(oldest).scalar_one_or_none(),
            )

    def _damaged(self) -> frozenset[str]:
        current = self._database.data_version()
        seen, damaged = self._known
        if seen != current:
            with self._database.read() as connection:
                damaged = frozenset(
                    connection.execute(
                        sa.select(blobs.c.digest).where(blobs.c.damage.is_not(None))
                    ).scalars()
                )
            self._known = (current, damaged)
        return damaged

    def _generations(self, digests: Collection[str]) -> dict[str, int]:
        with self._database.read() as connection:
            return {
                row.digest: row.generation
                for batch in batches(digests)
                for row in connection.execute(
                    sa.select(blobs.c.digest, blobs.c.generation).where(blobs.c.digest.in_(batch))
                )
            }

    def _record(self, verdicts: dict[str, str | None], generations: dict[str, int]) -> None:
        """Keep what was found, unless the bytes were put there anew meanwhile."""
        now = self._clock()
        for batch in batches(verdicts):
            rows = [
                {
                    "looked_at": digest,
                    "seen": generations.get(digest, 0),
                    "found": verdicts[digest],
                    "time": now,
                }
                for digest in batch
            ]
            with self._database.write() as connection:
                connection.execute(_VERDICT, rows)


def quarantined(version: ModelVersion, damaged: Collection[File]) -> DataLoss:
    """What a caller is told who wants files that are in quarantine."""
    paths = [file.path for file in damaged]
    named = ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
    return DataLoss(
        f"{version.name} is in quarantine: {named} is damaged on disk. Publish, import or pull the "
        "same files again under any name, which restores it; or put the blob back from a backup, "
        "and verify it again.",
        reason="QUARANTINED",
        metadata={
            "version": version.name,
            "paths": named,
            "digest": next(iter(damaged)).digest,
        },
    )
