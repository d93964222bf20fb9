"""The state of long work on disk, from which it goes on after a kill.

A checkpoint is a folder ``step-00000120``. It is written under another name, sealed with the
digest of every file, synced, and renamed; the one before it goes only then. So there is always a
whole one, and a damaged one is known for what it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from stillroom_registry.durable import sync_folder
from stillroom_registry.storage import storage_errors

_NAME = re.compile(r"step-(\d{8})")
_SEAL = "seal.json"
_KEPT = 2  # should the newest be damaged, the one before still serves


class Checkpoints:
    """The checkpoints in ``folder``, of one attempt at a time.

    ``confirm`` is called at the last moment before a checkpoint gets its name, and raises when the
    attempt is no longer the owner. ``saved`` is called after it has its name: the moment at which
    nothing is lost by stopping.
    """

    def __init__(
        self,
        folder: Path,
        confirm: Callable[[], None] = lambda: None,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._confirm = confirm
        self._saved = saved

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Keep what ``write`` puts into the folder it is given, as the state after ``step``.

        Raises ResourceExhausted (DISK_FULL), and what ``write`` and ``confirm`` raise; the older
        checkpoints are then left as they are.
        """
        final = self._folder / f"step-{step:08d}"
        unfinished = self._folder / f"unfinished-{os.getpid()}-{step}"
        self._clear()
        try:
            with storage_errors():
                unfinished.mkdir(parents=True)
                write(unfinished)
                _seal(unfinished)
                self._confirm()
                shutil.rmtree(final, ignore_errors=True)
                unfinished.rename(final)
                sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        for _, old in self._found()[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self._saved()

    def latest(self) -> tuple[int, Path] | None:
        """The newest whole checkpoint: its step and its folder. Damaged ones are removed."""
        for step, folder in self._found():
            if _whole(folder):
                return step, folder
            shutil.rmtree(folder, ignore_errors=True)
        return None

    def _found(self) -> list[tuple[int, Path]]:
        """Newest first."""
        if not self._folder.is_dir():
            return []
        named = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        found = ((int(match[1]), path) for match, path in named if match)
        return sorted(found, reverse=True)

    def _clear(self) -> None:
        """Remove what a killed attempt left half written."""
        if self._folder.is_dir():
            for path in self._folder.glob("unfinished-*"):
                shutil.rmtree(path, ignore_errors=True)


def _seal(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): _synced_digest(path) for path in files}
    seal = folder / _SEAL
    seal.write_text(json.dumps(digests), encoding="utf-8")
    _synced_digest(seal)
    for inner in {path.parent for path in files} | {folder}:
        sync_folder(inner)


def _whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        return all(_digest(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _synced_digest(path: Path) -> str:
    digest = _digest(path)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return digest


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
