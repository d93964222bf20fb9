"""Vectors that were computed once, by key, for any operation; a bounded folder of files.

An operation hard-links what it uses into a folder of its own, so removing a file here takes nothing
from it. Every file is named by what its content depends on: two processes that make the same one
may both put it. Nothing here is needed: what cannot be kept is computed again.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stillroom_registry.storage import storage_errors
from stillroom_server.distillation.features.vector_file import UNFINISHED

_NAME = re.compile(r"[0-9a-f]{64}\.vectors", re.ASCII)
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES}
_ABANDONED_SECONDS = 3600.0
_log = logging.getLogger(__name__)


class FeatureCache:
    """Files in ``root``, of ``limit_bytes`` in all at most; 0: nothing is kept. When it is full,
    those go that were not used for longest. ``now`` gives seconds since the epoch."""

    def __init__(self, root: Path, limit_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self._limit = limit_bytes
        self._now = now

    def take(self, key: str, path: Path) -> bool:
        """Put the file of ``key``, not checked, at ``path``, which is not there yet; whether there
        is one. Raises ResourceExhausted (DISK_FULL) where it has to be copied."""
        if self._limit <= 0:
            return False
        kept = self._path(key)
        try:
            with storage_errors():
                _link(kept, path)
        except FileNotFoundError:
            return False
        self._touch(path)
        return True

    def put(self, key: str, path: Path) -> None:
        """Keep the whole file ``path`` for ``key``; where that fails, it is not kept."""
        if path.stat().st_size > self._limit:
            self.trim()  # of what an earlier, larger limit allowed
            return
        unfinished = self._root / f"{uuid.uuid4().hex}{UNFINISHED}"
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _link(path, unfinished)
            self._touch(unfinished)
            unfinished.replace(self._path(key))
            self.trim()
        except OSError as error:
            _log.warning("vectors are not kept for later runs: %s", error.strerror)
        finally:
            # Renaming one link of a file over another leaves both, says POSIX.
            unfinished.unlink(missing_ok=True)

    def drop(self, key: str) -> None:
        """Forget a file that turned out to be damaged."""
        self._path(key).unlink(missing_ok=True)

    def trim(self) -> None:
        """Remove the least recently used files beyond the limit, and what a kill left half done."""
        if not self._root.is_dir():
            return
        abandoned = self._now() - _ABANDONED_SECONDS
        with self._alone():
            kept = []
            for entry in os.scandir(self._root):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if _NAME.fullmatch(entry.name):
                    kept.append((status.st_mtime_ns, entry.name, status.st_size))
                elif entry.name.endswith(UNFINISHED) and status.st_mtime < abandoned:
                    Path(entry.path).unlink(missing_ok=True)
            excess = sum(size for _, _, size in kept) - self._limit
            for _, name, size in sorted(kept):
                if excess <= 0:
                    break
                (self._root / name).unlink(missing_ok=True)
                excess -= size

    def _path(self, key: str) -> Path:
        return self._root / f"{key}.vectors"

    def _touch(self, path: Path) -> None:
        """Every link shows the same times. A file that is gone needs none."""
        now = self._now()
        try:
            os.utime(path, (now, now))
        except OSError as error:
            _log.debug("cannot mark %s as used: %s", path.name, error.strerror)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Alone among processes: two that trim at once would remove twice as much."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where there can be none. ``target`` is whole or not there."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        unfinished = target.with_name(f"{target.name}.{uuid.uuid4().hex}{UNFINISHED}")
        try:
            shutil.copyfile(source, unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
