"""The data directory: its layout, and one server at a time.

    stillroom.db  stillroom.lock  blobs/sha256/ab/<hex>  tmp/  cache/  uploads/  operations/<id>/

The server holds an exclusive lock (flock) on ``stillroom.lock``, which the kernel drops with the
process. Its runner opens the same directory with ``shared=True`` and takes no lock: the database
and renames keep the two correct, the lock only keeps a second server out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from stillroom_registry.durable import sync_folder
from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.scratch import sweep_abandoned
from stillroom_registry.storage import storage_errors

FOLDERS = ("blobs", "tmp", "cache", "uploads", "operations")
LOCK_FILE = "stillroom.lock"
DATABASE_FILE = "stillroom.db"


class DataDirectory:
    """An open data directory. ``path`` is absolute, without symbolic links."""

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, shared: bool = False) -> DataDirectory:
        """Create what is missing (mode 0700), lock it unless ``shared``, sweep abandoned scratch.

        Raises FailedPrecondition: DATA_DIR_IN_USE (metadata ``pid``) when another server has it,
        DATA_DIR_NOT_USABLE when it is no folder or cannot be written; ResourceExhausted
        (DISK_FULL).
        """
        create_layout(path)
        with _usable(path):
            path = path.resolve()
            lock = None if shared else _take_lock(path / LOCK_FILE)
            if lock is not None:
                sweep_abandoned(path / "tmp")
        return cls(path, lock)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create_layout(path: Path) -> None:
    """Make the folders and an empty database file, all private to this user; errors as above."""
    with _usable(path):
        is_new = not path.exists()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FOLDERS:
            (path / name).mkdir(mode=0o700, exist_ok=True)
        database = path / DATABASE_FILE
        # SQLite gives its side files the mode of the database file. One that exists is not opened:
        # closing it would drop the locks that this process has on it.
        if not database.exists():
            database.touch(mode=0o600)
            sync_folder(path)
        if is_new:
            sync_folder(path.parent)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        with storage_errors():
            yield
    except OSError as error:
        raise FailedPrecondition(
            f"The data directory {path} cannot be used: {error.strerror}. Name a folder that "
            "this user can write.",
            reason="DATA_DIR_NOT_USABLE",
            field="data_dir",
        ) from error


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise FailedPrecondition(
            f"The data directory {path.parent} is in use by another server (pid {holder}); stop it "
            "or name another directory.",
            reason="DATA_DIR_IN_USE",
            field="data_dir",
            metadata={"pid": holder},
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor
