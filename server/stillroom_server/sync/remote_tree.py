"""What differs between a version and a branch of the Hub, decided without asking anybody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

_CHUNK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file at a commit: ``sha256`` of a large one (LFS, Xet), git's ``blob_id`` of a small."""

    path: str
    size: int
    sha256: str | None
    blob_id: str


@dataclass(frozen=True)
class LocalFile:
    """A file to be there: its digests both ways (hex), and where its bytes are."""

    path: str
    size: int
    sha256: str
    blob_id: str
    source: Path | bytes

    @classmethod
    def of_bytes(cls, path: str, data: bytes) -> LocalFile:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return cls(path, len(data), hashlib.sha256(data).hexdigest(), blob.hexdigest(), data)

    def is_(self, remote: RemoteFile) -> bool:
        """Whether ``remote`` has the same bytes."""
        if remote.sha256 is not None:
            return remote.sha256 == self.sha256
        return remote.blob_id == self.blob_id


Tree: TypeAlias = Mapping[str, RemoteFile]


@dataclass(frozen=True)
class Change:
    """What makes a branch hold a version."""

    put: tuple[LocalFile, ...]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.put or self.delete)

    @property
    def paths(self) -> list[str]:
        """Every path that differs, in order."""
        return sorted({*(file.path for file in self.put), *self.delete})


def difference(local: Iterable[LocalFile], remote: Tree, ours: Iterable[str]) -> Change:
    """What to change in ``remote``. Files that are in neither the version nor ``ours``, the paths
    that an earlier push left there, stay: somebody else put them there."""
    files = {file.path: file for file in local}
    put = [
        file
        for path, file in sorted(files.items())
        if path not in remote or not file.is_(remote[path])
    ]
    delete = sorted(path for path in set(ours) if path in remote and path not in files)
    return Change(tuple(put), tuple(delete))


def digests(stream: IO[bytes], size: int, told: Callable[[int], None]) -> tuple[str, str]:
    """sha256 and git's blob id (hex) of ``size`` bytes, read once. ``told`` gets the bytes done."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    done = 0
    while chunk := stream.read(_CHUNK):
        sha256.update(chunk)
        blob.update(chunk)
        done += len(chunk)
        told(done)
    return sha256.hexdigest(), blob.hexdigest()
