"""Publishing: all of a version or nothing of it.

    check -> stage every file -> lease the digests -> name the blobs -> one transaction

Killed before the transaction's commit, nothing is visible and the collector finds the rest; killed
after it, the version is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.blobs import BlobWriter, StagedBlob
from stillroom_registry.database import Database
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.leases import leased
from stillroom_registry.manifest import manifest_digest
from stillroom_registry.names import ModelRef, check_model_name, shown
from stillroom_registry.rows import model_row, touch
from stillroom_registry.safe_files import SourceFolder, open_folder
from stillroom_registry.values import JSON, Clock, File, ModelKind, ModelVersion

InTransaction: TypeAlias = Callable[[sa.Connection, ModelVersion], None]
MAX_METADATA_BYTES = 1 << 20
MAX_DESCRIPTION = 10_000
MAX_LABELS = 64
MAX_LABEL = 256
MAX_PARENTS = 1_000


@dataclass(frozen=True)
class Publication:
    """What is to be published, checked on construction (InvalidArgument names the field)."""

    model: str
    kind: ModelKind
    metadata: Mapping[str, JSON]
    parents: tuple[str, ...]
    description: str | None
    labels: Mapping[str, str] | None

    def __post_init__(self) -> None:
        check_model_name(self.model)
        check_metadata(self.metadata)
        check_labels(self.labels or {})
        check_description(self.description or "")
        if len(self.parents) > MAX_PARENTS:
            raise InvalidArgument(f"More than {MAX_PARENTS:,} parents.", field="parents")
        for parent in self.parents:
            if str(_parent_ref(parent)) != parent:
                raise InvalidArgument(
                    f"The parent {shown(parent)} is no full version name; write "
                    "models/name/versions/3.",
                    field="parents",
                )


def check_description(description: str) -> None:
    """At most 10,000 characters that every database can hold, or InvalidArgument."""
    surrogates = any("\ud800" <= character <= "\udfff" for character in description)
    if len(description) > MAX_DESCRIPTION or surrogates or "\0" in description:
        raise InvalidArgument(
            f"A description is at most {MAX_DESCRIPTION:,} characters of valid Unicode, without "
            "NUL.",
            field="description",
        )


def check_metadata(metadata: Mapping[str, JSON]) -> None:
    """A JSON object of at most 1 MiB, without NaN, or InvalidArgument."""
    try:
        size = len(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"The metadata is no JSON: {error}.", field="metadata") from error
    if size > MAX_METADATA_BYTES:
        raise InvalidArgument(
            f"The metadata has {size:,} bytes; at most {MAX_METADATA_BYTES:,} are kept.",
            field="metadata",
        )


def check_labels(labels: Mapping[str, str]) -> None:
    """At most 64 pairs of short strings, or InvalidArgument."""
    short = all(
        isinstance(text, str) and len(text) <= MAX_LABEL for pair in labels.items() for text in pair
    )
    if len(labels) > MAX_LABELS or not short or "" in labels:
        raise InvalidArgument(
            f"Labels are at most {MAX_LABELS} pairs of strings, each at most {MAX_LABEL} "
            "characters, the key not empty.",
            field="labels",
        )


class Publisher:
    def __init__(self, database: Database, blobs: BlobWriter, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def publish(
        self, publication: Publication, folder: Path, in_transaction: InTransaction | None
    ) -> ModelVersion:
        # Refuse now what the transaction would refuse after all the bytes were written.
        with self._database.read() as connection:
            _check_state(connection, publication)
        staged: list[StagedBlob] = []
        try:
            with open_folder(folder) as source:
                files = self._stage(source, staged)
            with leased(self._database, [file.digest for file in files], self._clock) as lease:
                self._blobs.commit(*staged)
                with self._database.write() as connection:
                    lease.end(connection)
                    version = _insert(connection, publication, files, self._clock())
                    if in_transaction is not None:
                        in_transaction(connection, version)
                return version
        finally:
            self._blobs.discard(*staged)

    def _stage(self, source: SourceFolder, staged: list[StagedBlob]) -> tuple[File, ...]:
        files = []
        for file in source.files():
            with source.open(file.path) as stream:
                blob = self._blobs.stage(stream)
            staged.append(blob)
            files.append(File(file.path, blob.digest, blob.size))
        return tuple(files)


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
                {"version_id": version_id, "position": position, "parent": parent}
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
