"""A folder that appears whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any

from stillroom.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Internal,
    PermissionDenied,
    ResourceExhausted,
)


class PartialFile:
    """A file being written: where, how far, and the hash so far."""

    def __init__(self, path: str, file: FileIO) -> None:
        self.path = path
        self.file = file
        self.size = 0
        self.hash = hashlib.sha256()


class NewFolder:
    """Writes files to a private folder beside ``target`` and renames it at the end.

    ``digests`` gives ``sha256:{hex}`` by relative path; nothing else may be written. Bytes that do
    not match are DataLoss. Call ``discard`` on every way out: after ``commit`` it does nothing.
    """

    def __init__(self, target: Path, digests: Mapping[str, str]) -> None:
        for path in digests:
            _check_relative(path)
        self._target = target
        self._digests = dict(digests)
        self.complete: set[str] = set()
        self.partial: PartialFile | None = None
        self.written = 0
        with translated(target):
            self._folder = self._make()

    def _make(self) -> Path:
        """The folder to write to."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self._target.name}.download-"
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self._target.parent))

    @staticmethod
    def check(target: Path) -> None:
        """Raises AlreadyExists unless ``target`` is free or an empty folder."""
        with translated(target):
            taken = target.is_symlink() or target.is_file()
            if taken or (target.is_dir() and any(target.iterdir())):
                raise AlreadyExists(
                    f"{target} exists and is not an empty folder; choose another one",
                    reason="FOLDER_NOT_EMPTY",
                    field="folder",
                )

    def begin_file(self, path: str) -> None:
        """The chunks that follow belong to ``path``: finishes the file before it, or goes on with
        the same one, which was interrupted."""
        if self.partial is not None and self.partial.path == path:
            return
        self.finish_file()
        if path not in self._digests or path in self.complete:
            raise Internal(f"the server sent {path!r} out of turn", reason="MALFORMED_ANSWER")
        with translated(self._target):
            place = self._folder.joinpath(*PurePosixPath(path).parts)
            place.parent.mkdir(parents=True, exist_ok=True)
            self.partial = PartialFile(path, FileIO(place, "x"))

    def write(self, chunk: bytes) -> None:
        """Appends to the current file."""
        if self.partial is None:
            raise Internal("the server sent bytes of no file", reason="MALFORMED_ANSWER")
        with translated(self._target):
            view = memoryview(chunk)
            while view:  # a raw file may take less than it is given
                view = view[self.partial.file.write(view) :]
        self.partial.hash.update(chunk)
        self.partial.size += len(chunk)
        self.written += len(chunk)

    def finish_file(self) -> None:
        """Makes the current file durable, if there is one, and checks its digest."""
        partial = self.partial
        if partial is None:
            return
        with translated(self._target), partial.file:
            os.fsync(partial.file.fileno())
        self.partial = None
        digest = f"sha256:{partial.hash.hexdigest()}"
        if digest != self._digests[partial.path]:
            raise DataLoss(
                f"{partial.path} arrived damaged: {digest}, not {self._digests[partial.path]}",
                reason="DIGEST_MISMATCH",
                metadata={"path": partial.path},
            )
        self.complete.add(partial.path)

    def commit(self) -> None:
        """Gives the folder its name."""
        with translated(self._target):
            self._folder.chmod(0o777 & ~_umask())
            if self._target.is_dir():
                self._target.rmdir()  # fails unless it is still empty
            self._folder.rename(self._target)
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        """Removes what was not committed."""
        if self.partial is not None:
            self.partial.file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _check_relative(path: str) -> None:
    """The one rule for paths that a server names: every segment plain, nothing absolute."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or set(path) & set("\\:\0"):
        raise Internal(
            f"the server named a file {path!r}, which would lie outside the folder",
            reason="UNSAFE_PATH",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there; the rename itself is journaled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translated(target: Path) -> Iterator[None]:
    """OSError as an error of this client."""
    try:
        yield
    except OSError as error:
        kinds: dict[int | None, Any] = {
            errno.ENOSPC: (ResourceExhausted, "DISK_FULL"),
            errno.EDQUOT: (ResourceExhausted, "DISK_FULL"),
            errno.EACCES: (PermissionDenied, "LOCAL_PERMISSION"),
            errno.EPERM: (PermissionDenied, "LOCAL_PERMISSION"),
            errno.EROFS: (PermissionDenied, "LOCAL_PERMISSION"),
        }
        kind, reason = kinds.get(error.errno, (FailedPrecondition, "LOCAL_FILE"))
        raise kind(f"cannot write {target}: {error.strerror or error}", reason=reason) from error
