"""Reading a model's folder without being led out of it or into running code.

Every component is opened relative to its parent's descriptor without following links, so a folder
that is changed while it is read can break a publish, never widen it. The same path rule holds for
names that come from elsewhere (a manifest, a Hub repository, an upload): ``check_path``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.names import shown

MAX_FILES = 10_000
MAX_DEPTH = 16
MAX_PATH = 1024
# Formats whose usual loaders execute code: pickles under their common names, and Keras archives.
UNSAFE_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".dill", ".h5", ".joblib", ".keras", ".mar", ".nemo", ".pickle", ".pkl"}
    | {".pt", ".pt2", ".pth", ".ptl"}
)
_SNIFFED = 512


@dataclass(frozen=True, slots=True)
class SourceFile:
    path: str
    size: int


class SourceFolder:
    """An open folder whose regular files are to be read; see ``open_folder``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def files(self) -> list[SourceFile]:
        """Every file below, sorted by path.

        Raises InvalidArgument: UNSAFE_FILE for a symbolic link, a device, a pickle or an unsafe
        name, TOO_MANY_FILES, NO_FILES for an empty folder.
        """
        found: list[SourceFile] = []
        for file in _walk(self._descriptor, "", 0):
            check_path(file.path)
            if unsafe_name(file.path):
                raise _unsafe(
                    file.path,
                    "its format can run code when it is loaded; convert the weights to safetensors",
                )
            found.append(file)
            if len(found) > MAX_FILES:
                raise InvalidArgument(
                    f"The folder holds more than {MAX_FILES:,} files; name the model's own folder.",
                    reason="TOO_MANY_FILES",
                    field="files",
                )
        if not found:
            raise InvalidArgument(
                "The folder holds no files; name the model's own folder.",
                reason="NO_FILES",
                field="files",
            )
        return sorted(found, key=lambda file: file.path)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """The file's bytes from the start; refused as in ``files``, by content too."""
        with _open_below(self._descriptor, path) as stream:
            if unsafe_content(path, stream.read(_SNIFFED)):
                raise _unsafe(path, "it is a pickle by its content; convert it to safetensors")
            stream.seek(0)
            yield stream


@contextmanager
def open_folder(folder: Path) -> Iterator[SourceFolder]:
    """Open ``folder``; InvalidArgument (NOT_A_FOLDER) when it is none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InvalidArgument(
            f"{shown(str(folder))} is no folder that can be read: {error.strerror}.",
            reason="NOT_A_FOLDER",
            field="folder",
        ) from error
    try:
        yield SourceFolder(descriptor)
    finally:
        os.close(descriptor)


def check_path(path: str, field: str = "files") -> str:
    """A relative path with '/' and no tricks, or InvalidArgument (UNSAFE_FILE)."""
    parts = path.split("/")
    if len(path.encode("utf-8", "surrogateescape")) > MAX_PATH or len(parts) > MAX_DEPTH:
        raise _unsafe(path, f"its path exceeds {MAX_PATH} bytes or {MAX_DEPTH} folders", field)
    if any(part in ("", ".", "..") for part in parts):
        raise _unsafe(path, "its path is absolute or holds '.', '..' or an empty part", field)
    if not path.isprintable() or "\\" in path:
        raise _unsafe(path, "its name holds a control character, a backslash or no UTF-8", field)
    return path


def unsafe_name(path: str) -> bool:
    """Whether the name says that loading the file may run code."""
    return os.path.splitext(path)[1].lower() in UNSAFE_SUFFIXES  # noqa: PTH122


def unsafe_content(path: str, head: bytes) -> bool:
    """Whether the first bytes are a pickle's (protocol 2 or later) or a torch archive's.

    A second line behind the names: it catches renamed checkpoints. A safetensors file may begin
    with the same two bytes, its header's length; the third is then zero, which no pickle has.
    """
    if head[:1] == b"\x80" and b"\x02" <= head[1:2] <= b"\x05":
        return head[2:3] != b"\x00" and not path.endswith(".safetensors")
    return head.startswith(b"PK\x03\x04") and b"data.pkl" in head


def _walk(folder: int, prefix: str, depth: int) -> Iterator[SourceFile]:
    if depth > MAX_DEPTH:
        raise _unsafe(prefix, f"it lies more than {MAX_DEPTH} folders deep")
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                yield SourceFile(path, status.st_size)
            elif stat.S_ISDIR(status.st_mode):
                with _descriptor(entry.name, os.O_DIRECTORY, folder, path) as inner:
                    yield from _walk(inner, path + "/", depth + 1)
            else:
                kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"
                raise _unsafe(path, f"it is {kind}; put the file itself there")


@contextmanager
def _open_below(folder: int, path: str) -> Iterator[BinaryIO]:
    first, _, rest = path.partition("/")
    if rest:
        with (
            _descriptor(first, os.O_DIRECTORY, folder, path) as inner,
            _open_below(inner, rest) as stream,
        ):
            yield stream
        return
    # Without O_NONBLOCK, a pipe put in the file's place would hang the open.
    with _descriptor(first, os.O_NONBLOCK, folder, path) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unsafe(path, "it is no regular file; put the file itself there")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            yield stream


@contextmanager
def _descriptor(name: str, flags: int, folder: int, path: str) -> Iterator[int]:
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except OSError as error:
        raise FailedPrecondition(
            f"{shown(path)} cannot be read: {error.strerror}. It changed while it was being read, "
            "or this user may not read it.",
            reason="FILE_UNREADABLE",
            field="files",
            metadata={"path": ascii(path)[1:-1]},
        ) from error
    try:
        yield opened
    finally:
        os.close(opened)


def _unsafe(path: str, why: str, field: str = "files") -> InvalidArgument:
    return InvalidArgument(
        f"The file {shown(path)} is refused: {why}.",
        reason="UNSAFE_FILE",
        field=field,
        metadata={"path": ascii(path)[1:-1][:256]},
    )
