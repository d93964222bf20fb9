"""Opens a file of this machine for reading it from start to end, and tells if it changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_server.security.paths import AllowedRoots


@contextmanager
def open_allowed(roots: AllowedRoots, path: str, field: str) -> Iterator[BinaryIO]:
    """A file in a folder that requests may read. Raises what ``AllowedRoots.open_file`` raises, and
    on leaving the block FailedPrecondition (CORPUS_CHANGED) if the file is not what it was."""
    with _reading(roots.open_file(path, field=field), field) as stream:
        yield stream


@contextmanager
def open_own(path: Path, field: str) -> Iterator[BinaryIO]:
    """A file of the data directory. Raises NotFound (UPLOAD_NOT_FOUND), InvalidArgument
    (NOT_A_FILE)."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise NotFound(
            "the upload is gone; upload the file again", reason="UPLOAD_NOT_FOUND", field=field
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidArgument("it is no regular file", reason="NOT_A_FILE", field=field)
    with _reading(descriptor, field) as stream:
        yield stream


@contextmanager
def _reading(descriptor: int, field: str) -> Iterator[BinaryIO]:
    with os.fdopen(descriptor, "rb") as stream:
        before = _state(descriptor)
        try:
            yield stream
        except InvalidArgument as error:  # half a file may be a bad one
            if _state(descriptor) != before:
                raise _changed(field) from error
            raise
        if _state(descriptor) != before:
            raise _changed(field)


def _changed(field: str) -> FailedPrecondition:
    return FailedPrecondition(
        "the file changed while it was being read; try again when nobody writes to it",
        reason="CORPUS_CHANGED",
        field=field,
    )


def _state(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
