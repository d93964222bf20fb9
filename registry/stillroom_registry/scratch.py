"""Folders for unfinished files, owned by a living process.

A scratch folder is locked (flock) by whoever made it for as long as it lives; the kernel drops the
lock with the process, kill -9 included. So whether a folder was abandoned is known, not guessed
from its age.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path
from types import TracebackType


class Scratch:
    """A private folder under ``root``; use ``new()`` for names in it. Thread-safe."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = root / uuid.uuid4().hex
            folder.mkdir(mode=0o700)
            # A sweep may come between mkdir and flock; then the folder is gone and a new one is
            # made.
            descriptor = _lock(folder)
            if descriptor is not None:
                break
        self.folder = folder
        self._descriptor: int | None = descriptor

    def new(self) -> Path:
        """A path in the folder that nobody else was given; nothing is there yet."""
        return self.folder / uuid.uuid4().hex

    def close(self) -> None:
        """Remove the folder with everything in it."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(descriptor)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def sweep_abandoned(root: Path, *, dry_run: bool = False) -> int:
    """Remove the scratch folders whose owners are gone, and stray files; how many there were."""
    removed = 0
    for entry in list(os.scandir(root)) if root.is_dir() else []:
        path = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False):
            if not dry_run:
                path.unlink(missing_ok=True)
            removed += 1
            continue
        descriptor = _lock(path)
        if descriptor is None:
            continue
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)
        removed += 1
    return removed


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None when another holds it or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):  # noqa: PTH116
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
