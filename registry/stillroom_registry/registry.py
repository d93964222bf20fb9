"""The registry: models, their immutable versions, aliases, and the bytes behind them.

A façade: each method is the one-line entrance to the module that does the work. Every write is one
transaction and is on disk when the method returns; every read sees one state of the database.
Methods block for a disk access or two and may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from stillroom_registry import twins
from stillroom_registry.aliases import Aliases
from stillroom_registry.blobs import BlobStore, LocalBlobStore
from stillroom_registry.database import Database
from stillroom_registry.datadir import DATABASE_FILE, create_layout
from stillroom_registry.deletion import Deleter
from stillroom_registry.errors import DataLoss, NotFound
from stillroom_registry.filters.query import ModelQuery
from stillroom_registry.folders import Folders
from stillroom_registry.garbage import Collector
from stillroom_registry.integrity import Integrity
from stillroom_registry.lineage import Genealogist
from stillroom_registry.names import ModelRef, check_model_name, shown
from stillroom_registry.publishing import InTransaction, Publication, Publisher
from stillroom_registry.reading import Reader
from stillroom_registry.relations import relation_of
from stillroom_registry.resolving import Resolver
from stillroom_registry.scratch import Scratch
from stillroom_registry.stored import used_bytes
from stillroom_registry.updating import Updater
from stillroom_registry.values import (
    JSON,
    Alias,
    AliasEvent,
    Clock,
    File,
    GarbageReport,
    IntegrityState,
    Lineage,
    LineageEdge,
    LineageNode,
    Model,
    ModelKind,
    ModelVersion,
    Page,
    Usage,
    Verification,
    check_kind,
    system_clock,
)

__all__ = [
    "Alias",
    "AliasEvent",
    "File",
    "GarbageReport",
    "IntegrityState",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "Model",
    "ModelKind",
    "ModelVersion",
    "Page",
    "Registry",
    "Usage",
    "Verification",
]

_MIGRATIONS = Path(__file__).parent / "migrations"


class Registry:
    """Use ``Registry.open``. Several processes may have one data directory open."""

    def __init__(
        self,
        data_dir: Path,
        database: Database,
        clock: Clock,
        *,
        owns_database: bool,
        quota_bytes: int | None,
    ) -> None:
        self.database = database
        self._owns_database = owns_database
        self.data_dir = data_dir
        self._scratch = Scratch(data_dir / "tmp")
        self.blobs: BlobStore = LocalBlobStore(data_dir / "blobs", self._scratch)
        folders = Folders(data_dir / "cache", self.blobs, self._scratch)
        reader = Reader(database)
        self._folders = folders
        self._reader = reader
        self._quota_bytes = quota_bytes
        self._publisher = Publisher(database, self.blobs, clock, quota_bytes)
        self._updater = Updater(database, clock)
        self._aliases = Aliases(database, clock)
        self._deleter = Deleter(database, clock)
        self._collector = Collector(database, self.blobs, folders, data_dir / "tmp")
        self._resolver = Resolver(database, reader)
        self._genealogist = Genealogist(database)
        self._integrity = Integrity(database, self.blobs, clock)

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        clock: Clock = system_clock,
        database: Database | None = None,
        quota_bytes: int | None = None,
    ) -> Registry:
        """Open or create the registry in ``data_dir``, bringing its tables up to date.

        It takes no lock on the directory: see ``datadir.DataDirectory`` for the server's. A
        ``database`` that was given stays the caller's to close. ``quota_bytes`` limits the bytes of
        all blobs as far as this opener publishes; None: as much as the disk holds.
        """
        create_layout(data_dir)
        opened = database or Database.open(data_dir / DATABASE_FILE)
        opened.migrate("registry", _MIGRATIONS)
        return cls(data_dir, opened, clock, owns_database=database is None, quota_bytes=quota_bytes)

    def close(self) -> None:
        self._scratch.close()
        if self._owns_database:
            self.database.close()

    def publish(
        self,
        model: str,
        kind: ModelKind,
        folder: Path,
        *,
        metadata: Mapping[str, JSON] | None = None,
        parents: Sequence[str] = (),
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        relation: str | None = None,
        in_transaction: InTransaction | None = None,
    ) -> ModelVersion:
        """Publish every regular file of ``folder`` as the model's next version.

        Creates the model when it is new; ``description`` and ``labels`` replace its own unless
        None. ``relation`` (distill, train, quantize, copy) says how it came from its parents; None:
        told from its kind and the recipe in its metadata. ``in_transaction`` runs in the publishing
        transaction; what it raises undoes all. Raises InvalidArgument (a bad field, UNSAFE_FILE,
        NO_FILES), FailedPrecondition (KIND_MISMATCH), NotFound (PARENT_NOT_FOUND),
        ResourceExhausted (DISK_FULL; QUOTA_EXCEEDED, before a byte is written).
        """
        known, facts = check_kind(kind), metadata or {}
        made_by = relation_of(known, facts) if relation is None else relation
        publication = Publication(model, known, facts, tuple(parents), description, labels, made_by)
        return self._publisher.publish(publication, folder, in_transaction)

    def get_model(self, name: str) -> Model:
        """NotFound (MODEL_NOT_FOUND) when there is none."""
        return self._reader.get_model(name)

    def update_model(
        self,
        name: str,
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        etag: str | None = None,
    ) -> Model:
        """Replace a model's description and labels, those that are not None; the changed model.

        Raises InvalidArgument (a bad field), NotFound (MODEL_NOT_FOUND), Aborted (ETAG_MISMATCH)
        when ``etag`` is given and is not the current one.
        """
        return self._updater.update(
            name, description=description, labels=labels, expected_etag=etag
        )

    def list_models(
        self,
        page_size: int = 0,
        page_token: str = "",
        kind: ModelKind | None = None,
        *,
        filter: str = "",  # noqa: A002 as everybody calls it
        order_by: str = "",
    ) -> Page[Model]:
        """Models by name, or as ``order_by`` says (``update_time desc``), that match ``filter``.

        0 is 50 a page, more than 1,000 counts as 1,000. The language of filters: ``filters``.
        Raises InvalidArgument: BAD_FILTER (metadata ``position``), BAD_ORDER, BAD_PAGE_SIZE,
        BAD_PAGE_TOKEN.
        """
        return self._reader.list_models(ModelQuery(kind, filter, order_by), page_size, page_token)

    def list_versions(
        self, model: str, page_size: int = 0, page_token: str = ""
    ) -> Page[ModelVersion]:
        """A model's versions, newest first; pages as in ``list_models``."""
        return self._reader.list_versions(model, page_size, page_token)

    def get_version(self, model: str, version: int) -> ModelVersion:
        """NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND)."""
        return self._reader.load(ModelRef(check_model_name(model), version))

    def versions_of_digest(
        self, digest: str, model: str | None = None, *, deleted: bool = False
    ) -> tuple[str, ...]:
        """Full names of the versions that hold the files of that manifest, newest first: of
        ``model`` alone if it is given; with ``deleted`` also those that are gone, last."""
        with self.database.read() as connection:
            return twins.of_digest(connection, digest, model, deleted=deleted)

    def resolve(self, ref: str | ModelRef) -> ModelVersion:
        """The version that a name means now: microseconds when nothing changed since the last call.

        A bare name is its alias ``default`` if set, else its highest version. Raises
        InvalidArgument (BAD_MODEL_NAME), NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND,
        ALIAS_NOT_FOUND, NO_VERSIONS).
        """
        return self._resolver.resolve(ref)

    def set_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        who: str | None = None,
        expected_version: int | None = None,
    ) -> Alias:
        """Point the alias to a version. It must now point to ``expected_version``, unless None.

        0 expects that it does not exist. Raises NotFound, Aborted (ALIAS_MOVED).
        """
        return self._aliases.set(model, alias, version, who=who, expected=expected_version)

    def roll_back_alias(
        self,
        model: str,
        alias: str,
        *,
        who: str | None = None,
        expected_version: int | None = None,
    ) -> Alias:
        """Point the alias back to where it pointed before its last move, its deletion included.

        That is one more move: a second call undoes the first. Raises what ``set_alias`` raises, and
        FailedPrecondition: NOTHING_TO_ROLL_BACK when it was new, VERSION_DELETED.
        """
        return self._aliases.roll_back(model, alias, who=who, expected=expected_version)

    def delete_alias(self, model: str, alias: str, *, who: str | None = None) -> None:
        """NotFound (MODEL_NOT_FOUND, ALIAS_NOT_FOUND)."""
        self._aliases.delete(model, alias, who=who)

    def list_aliases(self, model: str) -> tuple[Alias, ...]:
        """All of a model's aliases, by name."""
        return self._aliases.list(model)

    def list_alias_events(
        self, model: str, alias: str | None = None, page_size: int = 0, page_token: str = ""
    ) -> Page[AliasEvent]:
        """The moves of one alias or all, newest first."""
        return self._aliases.events(model, alias, page_size, page_token)

    def delete_version(
        self, model: str, version: int, *, force: bool = False, who: str | None = None
    ) -> None:
        """FailedPrecondition (ALIAS_POINTS_HERE) while an alias points there, unless forced.

        The number is not given out again. The bytes go with the next collection.
        """
        self._deleter.delete_version(model, version, force=force, who=who)

    def delete_model(
        self,
        model: str,
        *,
        force: bool = False,
        who: str | None = None,
        etag: str | None = None,
    ) -> None:
        """Delete a model with its versions; refused as ``delete_version`` is.

        The name can be published to again, as any kind; its version numbers go on from where they
        were. Raises Aborted (ETAG_MISMATCH) when ``etag`` is given and is not the current one.
        """
        self._deleter.delete_model(model, force=force, who=who, expected_etag=etag)

    def lineage(self, ref: str | ModelRef, depth: int = 0) -> Lineage:
        """What a version was made from and what was made from it, ``depth`` steps each way.

        0 is all, at most 100 steps; more counts as 100. A version that is named by its number is
        found though it, or its model, be deleted. Raises InvalidArgument (BAD_MODEL_NAME,
        BAD_DEPTH), NotFound as ``resolve``.
        """
        return self._genealogist.lineage(
            ModelRef.parse(ref) if isinstance(ref, str) else ref, depth
        )

    def verify(
        self,
        version: ModelVersion,
        *,
        on_bytes: Callable[[int], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> Verification:
        """Hash the version's bytes on disk again; what is damaged goes into quarantine.

        What is found whole leaves it. ``on_bytes`` gets the bytes hashed so far, of at most
        ``version.size``; ``check`` is called as often, and what it raises ends the work.
        """
        return self._integrity.verify(version, on_bytes=on_bytes, check=check)

    def quarantine(self, version: ModelVersion, damaged: Iterable[File]) -> None:
        """Refuse these files of the version until they are stored or verified anew."""
        self._integrity.quarantine(version, damaged)

    def damaged_files(self, version: ModelVersion) -> tuple[File, ...]:
        """The version's files that are in quarantine; a few microseconds."""
        return self._integrity.damaged_files(version)

    def check_whole(self, version: ModelVersion) -> None:
        """DataLoss (QUARANTINED), which says how to restore it, when a file is in quarantine."""
        self._integrity.check(version)

    def due_for_verification(self, before: datetime, limit: int = 100) -> tuple[ModelVersion, ...]:
        """Versions with bytes that nobody looked at since ``before``, the longest ago first.

        Verifying them in turn reaches every blob of every version: what is shared, once.
        """
        return self._integrity.due(before, limit)

    def integrity_state(self) -> IntegrityState:
        """How many versions are in quarantine, and how long ago the bytes were looked at."""
        return self._integrity.state()

    def usage(self) -> Usage:
        """How many bytes are stored, and how many may be."""
        with self.database.read() as connection:
            return Usage(used_bytes(connection), self._quota_bytes)

    def folder(self, version: ModelVersion) -> Path:
        """A read-only folder with the version's files, made on the first call.

        Raises DataLoss (BLOB_MISSING, BLOB_DAMAGED; QUARANTINED, which says how to restore it).
        """
        self._integrity.check(version)
        return self._folders.folder(version)

    def open_file(self, version: ModelVersion, path: str) -> BinaryIO:
        """One file's bytes. NotFound (FILE_NOT_FOUND); DataLoss (BLOB_MISSING, QUARANTINED)."""
        for file in version.files:
            if file.path == path:
                break
        else:
            raise NotFound(
                f"{version.name} has no file {shown(path)}.",
                reason="FILE_NOT_FOUND",
                field="path",
            )
        self._integrity.check(version, path)
        try:
            return self.blobs.open(file.digest)
        except NotFound as error:
            raise DataLoss(
                f"The bytes of {path} in {version.name} are gone; publish or pull it again.",
                reason="BLOB_MISSING",
                metadata={"path": path, "digest": file.digest},
            ) from error

    def collect_garbage(
        self,
        *,
        grace: timedelta,
        now: datetime,
        dry_run: bool = False,
        check: Callable[[], None] | None = None,
    ) -> GarbageReport:
        """Remove blobs older than ``grace`` that nothing refers to, and abandoned scratch.

        ``dry_run`` only says what would go. ``check`` is called between batches; what it raises
        ends the work, half done being well done. Raises InvalidArgument (field grace), DataLoss
        (DATABASE_DAMAGED) and then removes nothing.
        """
        return self._collector.collect(grace=grace, now=now, dry_run=dry_run, check=check)
