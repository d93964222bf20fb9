"""A version as a folder, for libraries that want one.

Files are symbolic links to the read-only blobs. In a folder with an ``.onnx`` file they are hard
links (or copies, across filesystems): ONNX runtimes refuse external data whose real path lies
elsewhere. A folder is built in scratch and renamed when it is whole, so any number of processes may
want it at once; one that was damaged (a blob missing, a file cut short) is built again. Where a
blob's bytes were put in the store anew, links to the former ones are replaced one by one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from stillroom_registry.blobs import BlobReader
from stillroom_registry.errors import DataLoss
from stillroom_registry.failpoints import step
from stillroom_registry.safe_files import check_path
from stillroom_registry.scratch import Scratch
from stillroom_registry.storage import storage_errors
from stillroom_registry.values import File, ModelVersion

_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Folders:
    def __init__(self, root: Path, blobs: BlobReader, scratch: Scratch) -> None:
        self._root = root
        self._blobs = blobs
        self._scratch = scratch

    def folder(self, version: ModelVersion) -> Path:
        """The folder; equal contents share one. Raises DataLoss (BLOB_MISSING, BLOB_DAMAGED)."""
        target = self._root / version.digest.removeprefix("sha256:")
        if _is_whole(target, version.files):
            self._renew_links(target, version.files)
            return target
        built = self._build(version.files)
        try:
            with storage_errors(), self._changing():
                # Looked at again: else one who saw nothing takes away what another just made.
                if not _is_whole(target, version.files):
                    self._set_aside(target)
                    with step("folder.rename"):
                        built.rename(target)
        finally:
            shutil.rmtree(built, ignore_errors=True)
        return target

    def _renew_links(self, target: Path, files: Sequence[File]) -> None:
        """A blob that was replaced may have been damaged, and a hard link still is."""
        for file in _hard_linked(files):
            blob, path = self._blobs.path(file.digest), target / file.path
            try:
                linked, stored = path.stat(), blob.stat()
            except FileNotFoundError:
                continue
            # A copy is newer than its blob. What may be of the same tick of the clock is made anew.
            if linked.st_ino != stored.st_ino and linked.st_mtime_ns <= stored.st_mtime_ns:
                link = self._scratch.new()
                with storage_errors():
                    _hard_link(blob, link)
                    link.replace(path)

    def delete(self, name: str) -> None:
        """Remove one folder by the name that ``names`` gave."""
        with self._changing():
            self._set_aside(self._root / name)

    def names(self) -> list[str]:
        """The folders that are there; whatever else lies in the cache is not ours."""
        return [path.name for path in self._root.iterdir() if _NAME.fullmatch(path.name)]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone among threads and processes, for the few calls that change what is under a name."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _set_aside(self, target: Path) -> None:
        """Take the folder away in one step, then remove it: nobody sees half of it."""
        aside = self._scratch.new()
        try:
            with step("folder.aside"):
                target.rename(aside)
        except FileNotFoundError:
            return
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _build(self, files: Sequence[File]) -> Path:
        built = self._scratch.new()
        hard = {file.path for file in _hard_linked(files)}
        try:
            with storage_errors():
                for file in files:
                    check_path(file.path)
                    blob = self._blobs.path(file.digest)
                    _check_size(blob, file)
                    path = built / file.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if file.path in hard:
                        _hard_link(blob, path)
                    else:
                        # Relative, from the place it will have: a moved data directory still works.
                        depth = len(PurePosixPath(file.path).parts)
                        up = os.path.relpath(blob, self._root)
                        path.symlink_to(Path(*[".."] * depth) / up)
        except BaseException:
            shutil.rmtree(built, ignore_errors=True)
            raise
        return built


def _hard_linked(files: Sequence[File]) -> list[File]:
    folders = {PurePosixPath(file.path).parent for file in files if file.path.endswith(".onnx")}
    return [file for file in files if PurePosixPath(file.path).parent in folders]


def _hard_link(blob: Path, path: Path) -> None:
    try:
        path.hardlink_to(blob)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(blob, path)


def _check_size(blob: Path, file: File) -> None:
    try:
        found = blob.stat().st_size
    except FileNotFoundError:
        raise DataLoss(
            f"The bytes of {file.path} are gone; publish or pull the model again.",
            reason="BLOB_MISSING",
            metadata={"path": file.path, "digest": file.digest},
        ) from None
    if found != file.size:
        raise DataLoss(
            f"The bytes of {file.path} are damaged ({found} bytes instead of {file.size}); publish "
            "or pull the model again.",
            reason="BLOB_DAMAGED",
            metadata={"path": file.path, "digest": file.digest},
        )


def _is_whole(target: Path, files: Sequence[File]) -> bool:
    try:
        return all((target / file.path).stat().st_size == file.size for file in files)
    except OSError:
        return False
