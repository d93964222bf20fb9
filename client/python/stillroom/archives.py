"""What goes up: a file, or a model folder as a tar that is never written to disk.

The tar of a folder is a function of its files' names and contents alone (sorted, no times, no
owners), so it can be read again from any byte: that is what resuming an upload needs.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stillroom.errors import FailedPrecondition, InvalidArgument

CHUNK_BYTES = 1 << 20
_BLOCK = 512
# Weights that the server never reads: it takes safetensors and nothing else.
_OTHER_WEIGHTS = (".bin", ".ckpt", ".h5", ".msgpack", ".onnx_data", ".ot", ".pkl", ".pt", ".pth")


@dataclass(frozen=True)
class Part:
    """A stretch of a payload: literal bytes, or ``size`` bytes of a file."""

    size: int
    literal: bytes = b""
    path: Path | None = None


@dataclass(frozen=True)
class Payload:
    """Bytes to upload, in parts; ``name`` is for people."""

    name: str
    parts: tuple[Part, ...]
    is_tar: bool = False

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(part.size for part in self.parts)

    def digest(self) -> str:
        """``sha256:{hex}`` of the whole; reads everything once."""
        hasher = hashlib.sha256()
        for chunk in self.chunks():
            hasher.update(chunk)
        return f"sha256:{hasher.hexdigest()}"

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """The bytes from ``offset`` on, at most a MiB at a time."""
        for part in self.parts:
            if offset >= part.size:
                offset -= part.size
            else:
                yield from _read(part, offset)
                offset = 0


def _read(part: Part, offset: int) -> Iterator[bytes]:
    if part.path is None:
        yield part.literal[offset:]
        return
    left = part.size - offset
    with part.path.open("rb") as file:
        file.seek(offset)
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise FailedPrecondition(
                    f"{part.path} became shorter while it was uploaded; leave it alone and retry",
                    reason="FILE_CHANGED",
                )
            left -= len(chunk)
            yield chunk


def payload(path: str | os.PathLike[str]) -> Payload:
    """The payload of a file, or the tar of a folder. InvalidArgument when it is neither, or
    empty."""
    source = Path(path)
    if source.is_dir():
        return folder(source)
    if not source.is_file():
        raise InvalidArgument(f"{source} is no file and no folder", reason="NO_FILE", field="path")
    size = source.stat().st_size
    if size == 0:
        raise InvalidArgument(f"{source} is empty", reason="EMPTY_FILE", field="path")
    return Payload(source.name, (Part(size, path=source),))


def model_folder(path: str | os.PathLike[str], field: str = "path") -> Payload:
    """The tar of a model folder, without what a server never reads. InvalidArgument says what the
    folder lacks to be one."""
    source = Path(path)
    if not source.is_dir():
        raise InvalidArgument(f"{source} is no folder", reason="NO_FOLDER", field=field)
    if not (source / "config.json").is_file():
        raise InvalidArgument(
            f"{source} is no model folder: it has no config.json", reason="NO_MODEL", field=field
        )
    return folder(source, leave_out=_OTHER_WEIGHTS if _has_safetensors(source) else ())


def _has_safetensors(source: Path) -> bool:
    return any(entry.suffix == ".safetensors" for entry in source.iterdir())


def folder(source: Path, leave_out: tuple[str, ...] = ()) -> Payload:
    """The tar of the regular files under ``source``, links to files followed, links to folders and
    hidden entries left out, and files that end on one of ``leave_out``."""
    wanted = [file for file in _files(source) if not file.name.endswith(leave_out)]
    return tar_of(source, wanted)


def tar_of(source: Path, files: Iterable[Path]) -> Payload:
    """The tar of these files under ``source``."""
    parts: list[Part] = []
    for file in files:
        size = file.stat().st_size
        info = tarfile.TarInfo(file.relative_to(source).as_posix())
        info.size, info.mode = size, 0o644
        header = info.tobuf(tarfile.PAX_FORMAT)
        padding = bytes(-size % _BLOCK)
        parts += [Part(len(header), header), Part(size, path=file), Part(len(padding), padding)]
    if not parts:
        raise InvalidArgument(f"{source} holds no files", reason="EMPTY_FOLDER", field="path")
    end = bytes(2 * _BLOCK)
    name = f"{source.resolve().name or 'model'}.tar"
    return Payload(name, (*parts, Part(len(end), end)), is_tar=True)


def _files(source: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(root, name)
            if not name.startswith(".") and file.is_file():
                yield file
