"""Publishing: all of a version or nothing of it.

    check -> stage every file -> lease the digests -> name the blobs -> one transaction

Files are staged side by side, because most of the time goes by in waiting for the disk.

Killed before the transaction's commit, nothing is visible and the collector finds the rest; killed
after it, the version is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.blobs import BlobWriter, StagedBlob, digest_of
from stillroom_registry.checks import check_description, check_labels, check_metadata
from stillroom_registry.database import Database
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.leases import leased
from stillroom_registry.manifest import manifest_digest
from stillroom_registry.names import ModelRef, check_model_name, shown
from stillroom_registry.relations import check_relation
from stillroom_registry.rows import model_row, touch
from stillroom_registry.safe_files import SourceFile, SourceFolder, open_folder
from stillroom_registry.stored import check_quota, note_stored, used_bytes
from stillroom_registry.values import JSON, Clock, File, ModelKind, ModelVersion

InTransaction: TypeAlias = Callable[[sa.Connection, ModelVersion], None]
MAX_PARENTS = 1_000
_STAGED_AT_ONCE = 4


@dataclass(frozen=True)
class Publication:
    """What is to be published, checked on construction (InvalidArgument names the field)."""

    model: str
    kind: ModelKind
    metadata: Mapping[str, JSON]
    parents: tuple[str, ...]
    description: str | None
    labels: Mapping[str, str] | None
    relation: str

    def __post_init__(self) -> None:
        check_model_name(self.model)
        check_metadata(self.metadata)
        check_labels(self.labels or {})
        check_description(self.description or "")
        check_relation(self.relation)
        if len(self.parents) > MAX_PARENTS:
            raise InvalidArgument(f"More than {MAX_PARENTS:,} parents.", field="parents")
        for parent in self.parents:
            if str(_parent_ref(parent)) != parent:
                raise InvalidArgument(
                    f"The parent {shown(parent)} is no full version name; write "
                    "models/name/versions/3.",
                    field="parents",
                )


class Publisher:
    def __init__(
        self, database: Database, blobs: BlobWriter, clock: Clock, quota_bytes: int | None
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._quota_bytes = quota_bytes

    def publish(
        self, publication: Publication, folder: Path, in_transaction: InTransaction | None
    ) -> ModelVersion:
        # Refuse now what the transaction would refuse after all the bytes were written.
        with self._database.read() as connection:
            _check_state(connection, publication)
        staged: list[StagedBlob] = []
        try:
            with open_folder(folder) as source:
                listed = source.files()
                self._check_quota(source, listed)
                files = self._stage(source, listed, staged)
            with leased(self._database, [file.digest for file in files], self._clock) as lease:
                self._blobs.commit(*staged)
                with self._database.write() as connection:
                    lease.end(connection)
                    version = self._insert(connection, publication, files)
                    if in_transaction is not None:
                        in_transaction(connection, version)
                return version
        finally:
            self._blobs.discard(*staged)

    def _check_quota(self, source: SourceFolder, listed: Sequence[SourceFile]) -> None:
        """Before a byte is written. Near the limit the files are read first, to know which of them
        are stored already and need no room."""
        if self._quota_bytes is None:
            return
        with self._database.read() as connection:
            used = used_bytes(connection)
        if used + sum(file.size for file in listed) <= self._quota_bytes:
            return
        blobs = {}
        for file in listed:
            with source.open(file.path) as stream:
                blobs[digest_of(stream)] = file.size
        with self._database.read() as connection:
            check_quota(connection, blobs, self._quota_bytes)

    def _stage(
        self, source: SourceFolder, listed: Sequence[SourceFile], staged: list[StagedBlob]
    ) -> tuple[File, ...]:
        def stage(file: SourceFile) -> File:
            with source.open(file.path) as stream:
                blob = self._blobs.stage(stream)
            staged.append(blob)
            return File(file.path, blob.digest, blob.size)

        if len(listed) == 1:
            return (stage(listed[0]),)
        with ThreadPoolExecutor(min(_STAGED_AT_ONCE, len(listed)), "stage") as pool:
            work = [pool.submit(stage, file) for file in listed]
            try:
                return tuple(each.result() for each in work)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _insert(
        self, connection: sa.Connection, publication: Publication, files: tuple[File, ...]
    ) -> ModelVersion:
        blobs = {file.digest: file.size for file in files}
        if self._quota_bytes is not None:
            check_quota(connection, blobs, self._quota_bytes)
        now = self._clock()
        version = _insert(connection, publication, files, now)
        note_stored(connection, blobs, now)
        return version


def _parent_ref(parent: str) -> ModelRef:
    return ModelRef.parse(parent, field="parents")


def _check_state(connection: sa.Connection, publication: Publication) -> None:
    row = model_row(connection, publication.model)
    if row is not None and row.delete_time is None and row.kind != publication.kind:
        raise FailedPrecondition(
            f"The model {publication.model} is a {row.kind}; a {publication.kind} needs another "
            "name.",
            reason="KIND_MISMATCH",
            field="kind",
            metadata={"model": publication.model, "kind": row.kind},
        )
    for parent in publication.parents:
        ref = _parent_ref(parent)
        known = connection.execute(
            sa.select(schema.versions.c.id)
            .join(schema.models)
            .where(schema.models.c.name == ref.model, schema.versions.c.version == ref.version)
        ).first()
        if known is None:
            raise NotFound(
                f"The parent {parent} never existed.",
                reason="PARENT_NOT_FOUND",
                field="parents",
                metadata={"parent": parent},
            )


def _insert(
    connection: sa.Connection,
    publication: Publication,
    files: tuple[File, ...],
    now: datetime,
) -> ModelVersion:
    _check_state(connection, publication)
    model_id, number = _allocate(connection, publication, now)
    version = ModelVersion(
        model=publication.model,
        version=number,
        kind=publication.kind,
        files=files,
        # As it will be read back: tuples become lists, keys strings.
        metadata=json.loads(json.dumps(dict(publication.metadata))),
        parents=publication.parents,
        create_time=now,
        size=sum(file.size for file in files),
        digest=manifest_digest(files),
    )
    inserted = connection.execute(
        sa.insert(schema.versions).values(
            model_id=model_id,
            version=number,
            kind=version.kind,
            metadata=version.metadata,
            size=version.size,
            digest=version.digest,
            create_time=now,
        )
    )
    version_id = _inserted_id(inserted)
    connection.execute(
        sa.insert(schema.version_files),
        [
            {"version_id": version_id, "path": f.path, "digest": f.digest, "size": f.size}
            for f in files
        ],
    )
    if version.parents:
        connection.execute(
            sa.insert(schema.version_parents),
            [
                {
                    "version_id": version_id,
                    "position": position,
                    "parent": parent,
                    "relation": publication.relation,
                }
                for position, parent in enumerate(version.parents)
            ],
        )
    return version


def _allocate(
    connection: sa.Connection, publication: Publication, now: datetime
) -> tuple[int, int]:
    """The model's row, created or revived if need be, and the next version number."""
    table = schema.models
    row = model_row(connection, publication.model)
    described = {
        "description": publication.description or "",
        "labels": dict(publication.labels or {}),
    }
    if row is None:
        inserted = connection.execute(
            sa.insert(table).values(
                name=publication.model,
                kind=publication.kind,
                next_version=2,
                revision=1,
                create_time=now,
                update_time=now,
                **described,
            )
        )
        return _inserted_id(inserted), 1
    values: dict[str, JSON] = {"next_version": row.next_version + 1}
    if row.delete_time is not None:
        # The name begins a new life; its version numbers go on, so no version name means two
        # things.
        values |= {"kind": publication.kind, "create_time": now, "delete_time": None, **described}
    else:
        given = {"description": publication.description, "labels": publication.labels}
        values |= {name: described[name] for name, value in given.items() if value is not None}
    connection.execute(sa.update(table).where(table.c.id == row.id).values(**values))
    touch(connection, row.id, now)
    return int(row.id), int(row.next_version)


def _inserted_id(result: sa.CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])
