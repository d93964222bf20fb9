"""Where a version rests on its way from one server to another, and how the way goes on."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from io import FileIO
from pathlib import Path, PurePosixPath

from stillroom.local_folder import NewFolder, PartialFile, translated
from stillroom.v1 import model_pb2

_NOTE = "upload"
_MAX_NOTE = 200


class RestingFolder(NewFolder):
    """A folder that is filled in several goes: files that an earlier one brought whole are hashed
    and kept, one that it began goes on, whatever else is there is removed."""

    def __init__(self, folder: Path, files: Iterable[model_pb2.ModelFile]) -> None:
        self._sizes = {file.path: file.size_bytes for file in files}
        super().__init__(folder, {file.path: file.digest for file in files})
        with translated(folder):
            for path in self._sizes:
                self._take_over(path)

    def _make(self) -> Path:
        self._target.mkdir(exist_ok=True)
        return self._target

    def _take_over(self, path: str) -> None:
        place = self._target.joinpath(*PurePosixPath(path).parts)
        if not os.path.lexists(place):
            return
        found = hashlib.sha256()
        size = 0
        if place.is_file() and not place.is_symlink():
            size = place.stat().st_size
            with place.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256")
        if size == self._sizes[path] and self._digests[path] == f"sha256:{found.hexdigest()}":
            self.complete.add(path)
        elif 0 < size < self._sizes[path] and self.partial is None:
            self.partial = PartialFile(path, FileIO(place, "a"))
            self.partial.size, self.partial.hash = size, found
        else:
            place.unlink()
            return
        self.written += size

    def discard(self) -> None:
        """Closes what is open; the files stay."""
        if self.partial is not None:
            self.partial.file.close()


class Place:
    """A private folder for the copy of one version: inside ``temporary``, one that the next copy of
    the version finds again; else one of the system's, for this copy alone."""

    def __init__(self, temporary: str | os.PathLike[str] | None, digest: str) -> None:
        self._lock: int | None = None
        self._lasting = False
        inside = Path(temporary or tempfile.gettempdir())
        with translated(inside):
            if temporary is not None:
                path = inside / f"stillroom-copy-{digest.removeprefix('sha256:')[:32]}"
                path.mkdir(mode=0o700, exist_ok=True)
                self._lock = _lock(path)
            self._lasting = self._lock is not None
            self.path = (
                path
                if self._lasting
                else Path(tempfile.mkdtemp(prefix="stillroom-copy-", dir=temporary))
            )

    @property
    def upload(self) -> str | None:
        """The upload that an earlier copy began."""
        try:
            return (self.path / _NOTE).read_text(encoding="utf-8")[:_MAX_NOTE] or None
        except (OSError, ValueError):
            return None

    def note(self, upload: str) -> None:
        """Remembers the upload that this copy began."""
        with translated(self.path):
            (self.path / _NOTE).write_text(upload, encoding="utf-8")

    def close(self, *, keep: bool) -> None:
        """Removes it, unless it is to be found again."""
        if not (keep and self._lasting):
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that keeps other copies out of the folder; None where one is in it, or nothing
    could keep it out."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
