"""Writing so that a crash leaves the old or the new state, and what a failing disk means."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillroom_registry import storage
from stillroom_registry.errors import FailedPrecondition, Internal, ResourceExhausted

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM}


def disk_full() -> ResourceExhausted:
    return ResourceExhausted(
        "The disk that holds the data directory is full; what arrived before is kept. Free some "
        "space, then resume the upload.",
        reason="DISK_FULL",
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turns OSError into a domain error: ResourceExhausted (DISK_FULL), FailedPrecondition
    (UPLOADS_NOT_WRITABLE), what ``storage`` says, or Internal (DISK_ERROR)."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full() from error
        if error.errno in _REFUSED:
            raise FailedPrecondition(
                f"The server may not use its uploads folder ({error.strerror}); check the owner "
                "and the permissions of the data directory.",
                reason="UPLOADS_NOT_WRITABLE",
            ) from error
        if (told := storage.translate(error)) is not None:
            raise told from error
        raise Internal(
            f"The disk that holds the uploads failed ({error.strerror}).", reason="DISK_ERROR"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, durably: a reader sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last; without it a rename can be undone by a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
