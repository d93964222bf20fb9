"""Bytes by digest. A blob gets its name only when it is whole and on disk.

The recipe: hash while writing to a scratch file of the same filesystem, fsync, rename, fsync the
folder. The first two are ``stage``, the last two ``commit``, because a lease on the digests has to
be taken between them (see ``leases``); ``put`` does all four.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from stillroom_registry.durable import rename, sync_file, sync_folder
from stillroom_registry.errors import DataLoss, InvalidArgument, NotFound
from stillroom_registry.failpoints import step
from stillroom_registry.scratch import Scratch
from stillroom_registry.storage import storage_errors

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """``digest`` is ``sha256:<hex>``, ``size`` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class StagedBlob(Blob):
    """Written and synced under a name that means nothing yet."""

    staged: Path


@dataclass(frozen=True, slots=True)
class StoredBlob(Blob):
    """A blob in the store, with the time it was last put there."""

    stored: datetime


class BlobReader(Protocol):
    def exists(self, digest: str) -> bool: ...
    def path(self, digest: str) -> Path: ...
    def open(self, digest: str) -> BinaryIO: ...
    def verify(self, digest: str, on_bytes: Callable[[int], None] | None = None) -> int: ...


class BlobWriter(Protocol):
    def put(self, source: BinaryIO | Path) -> Blob: ...
    def stage(self, source: BinaryIO | Path) -> StagedBlob: ...
    def commit(self, *blobs: StagedBlob) -> None: ...
    def discard(self, *blobs: StagedBlob) -> None: ...


class BlobSweeper(Protocol):
    def stored(self) -> Iterator[StoredBlob]: ...
    def digests(self) -> Iterator[str]: ...
    def delete(self, digest: str) -> bool: ...


class BlobStore(BlobReader, BlobWriter, BlobSweeper, Protocol):
    """All the roles; ask for the one you need."""


class LocalBlobStore:
    """Read-only files ``root``/sha256/ab/<hex>; ``scratch`` is on the same filesystem."""

    def __init__(self, root: Path, scratch: Scratch | None = None) -> None:
        self._folder = root / "sha256"
        self._scratch = scratch or Scratch(root / "tmp")
        with storage_errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(root)

    def close(self) -> None:
        self._scratch.close()

    def put(self, source: BinaryIO | Path) -> Blob:
        """Store the stream (from where it stands) or the file; durable on return.

        Raises what ``storage_errors`` raises when the disk is full or fails, and leaves nothing.
        """
        staged = self.stage(source)
        self.commit(staged)
        return Blob(staged.digest, staged.size)

    def stage(self, source: BinaryIO | Path) -> StagedBlob:
        """Hash while writing to a scratch file and sync it; errors as for ``put``."""
        path = self._scratch.new()
        opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
        try:
            with storage_errors(), opened as stream:
                digest, size = _copy(stream, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return StagedBlob(f"sha256:{digest}", size, path)

    def commit(self, *blobs: StagedBlob) -> None:
        """Give staged blobs their names. A blob that was there is replaced, which heals damage."""
        folders = set()
        with storage_errors():
            for blob in blobs:
                target = self.path(blob.digest)
                target.parent.mkdir(mode=0o700, exist_ok=True)
                rename(blob.staged, target)
                folders.add(target.parent)
            # The common parent too, whoever made the folder: another process may have made it a
            # moment ago and not have synced it yet. Syncing what is clean costs next to nothing.
            for folder in [*folders, self._folder]:
                sync_folder(folder)

    def discard(self, *blobs: StagedBlob) -> None:
        """Drop what was staged and not committed; a committed blob is left alone."""
        for blob in blobs:
            blob.staged.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob lies, or would; InvalidArgument (BAD_DIGEST) on anything but a digest."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise InvalidArgument("A digest is sha256: and 64 hex digits.", reason="BAD_DIGEST")
        return self._folder / match[1][:2] / match[1]

    def exists(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def open(self, digest: str) -> BinaryIO:
        """The blob's bytes, not checked against the digest; NotFound (BLOB_NOT_FOUND)."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(
                f"There is no blob {digest}.", reason="BLOB_NOT_FOUND", metadata={"digest": digest}
            ) from None

    def verify(self, digest: str, on_bytes: Callable[[int], None] | None = None) -> int:
        """Hash the stored bytes again; their size, or DataLoss (BLOB_DAMAGED, BLOB_MISSING).

        ``on_bytes`` is called with the length of each piece that was hashed; what it raises ends
        the work. The bytes are those of the disk, not those that the system still remembers.
        """
        found, size = hashlib.sha256(), 0
        try:
            with self.path(digest).open("rb", buffering=0) as stream:
                _forget_cached(stream.fileno())
                while chunk := _read(stream):
                    found.update(chunk)
                    size += len(chunk)
                    if on_bytes is not None:
                        on_bytes(len(chunk))
        except FileNotFoundError:
            raise DataLoss(
                f"The blob {digest} is gone; publishing, importing or pulling the same files "
                "again restores it.",
                reason="BLOB_MISSING",
                metadata={"digest": digest},
            ) from None
        if f"sha256:{found.hexdigest()}" != digest:
            raise _damaged(digest)
        return size

    def stored(self) -> Iterator[StoredBlob]:
        """Every blob, in no order. Files that are no blobs are passed over, never touched."""
        for folder in sorted(self._folder.iterdir()):
            for entry in os.scandir(folder) if folder.is_dir() else ():
                if not _HEX.fullmatch(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                stored = datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredBlob(f"sha256:{entry.name}", status.st_size, stored)

    def digests(self) -> Iterator[str]:
        return (blob.digest for blob in self.stored())

    def delete(self, digest: str) -> bool:
        """Remove the blob; whether it was there. Only the garbage collector may call this."""
        try:
            with step("blob.unlink"):
                self.path(digest).unlink()
        except FileNotFoundError:
            return False
        return True


def digest_of(stream: BinaryIO) -> str:
    """The digest of the rest of a stream, as a blob of it would have."""
    found = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        found.update(chunk)
    return f"sha256:{found.hexdigest()}"


def _damaged(digest: str) -> DataLoss:
    return DataLoss(
        f"The blob {digest} is damaged; publishing, importing or pulling the same files again "
        "restores it.",
        reason="BLOB_DAMAGED",
        metadata={"digest": digest},
    )


def _read(stream: BinaryIO) -> bytes:
    try:
        return stream.read(_CHUNK)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""  # what cannot be read is not there: the digest will tell


def _forget_cached(descriptor: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _copy(stream: BinaryIO, path: Path) -> tuple[str, int]:
    """Write the stream to a new read-only file and sync it; the SHA-256 in hex and the size."""
    digest = hashlib.sha256()
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb", buffering=0) as target:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[target.write(view) :]
        sync_file(target.fileno())
    return digest.hexdigest(), size
