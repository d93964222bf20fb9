"""A source file's copy in the operation's folder: whole or not at all, and of one moment.

An attempt after a kill finds the copy and reads the same bytes, whatever became of the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from stillroom_registry.durable import sync_folder
from stillroom_registry.errors import Aborted, FailedPrecondition, StillroomError
from stillroom_registry.storage import storage_errors
from stillroom_server.classification.data.refusal import too_large
from stillroom_server.distillation.corpus.shards import write_whole

_FILE, _MARK = "data", "copy.json"
_CHUNK = 1 << 20

Opener: TypeAlias = Callable[[], AbstractContextManager[BinaryIO]]
Told: TypeAlias = Callable[[int, int], None]
"""Is told bytes done and in all; it may raise to stop."""


def copied(
    open_source: Opener, folder: Path, asked: str, *, limit: int, field: str, told: Told
) -> Path:
    """The copy of what ``open_source`` opens, in ``folder``; ``asked`` says what that is, so that a
    copy of something else is not taken for it.

    Raises Aborted (DATA_CHANGED) when the file's size, time or identity changed meanwhile,
    ResourceExhausted (DATA_TOO_LARGE, DISK_FULL), and what ``open_source`` raises.
    """
    path = folder / _FILE
    if _is_whole(folder, asked, told):
        return path
    with storage_errors():
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.unfinished"):
            left.unlink(missing_ok=True)
    # A name of its own: an earlier attempt may have been taken for dead and still write.
    unfinished = folder / f"{_FILE}.{uuid.uuid4().hex}.unfinished"
    try:
        with storage_errors():
            digest = _copy(open_source, unfinished, limit, field, told)
            unfinished.replace(path)
            sync_folder(folder)
    finally:
        unfinished.unlink(missing_ok=True)
    write_whole(folder / _MARK, json.dumps({"asked": asked, "digest": digest}).encode())
    return path


def _copy(open_source: Opener, target: Path, limit: int, field: str, told: Told) -> str:
    """Copies, and syncs the copy; the digest of its bytes."""
    try:
        with open_source() as source:
            before = _state(source)
            size = before[0]
            if size > limit:
                raise too_large(f"{limit:,} bytes", field)
            digest = hashlib.sha256()
            done = 0
            with target.open("xb") as stream:
                # One byte beyond the end is asked for: a file that grows must not go unnoticed.
                while chunk := source.read(min(_CHUNK, size + 1 - done)):
                    stream.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    told(min(done, size), size)
                    if done > size:
                        break
                stream.flush()
                os.fsync(stream.fileno())
            if done != size or _state(source) != before or not _is_there(open_source, before):
                raise _changed(field)
    except FailedPrecondition as error:  # changed in the moment of closing
        if error.reason != "CORPUS_CHANGED":
            raise
        raise _changed(field) from error
    return digest.hexdigest()


def _is_there(open_source: Opener, state: tuple[int, ...]) -> bool:
    """Whether the name still means the file that was copied."""
    try:
        with open_source() as again:
            return _state(again) == state
    except StillroomError:
        return False


def _is_whole(folder: Path, asked: str, told: Told) -> bool:
    try:
        mark = json.loads((folder / _MARK).read_bytes())
        if mark["asked"] != asked:
            return False
        digest = hashlib.sha256()
        done = 0
        with (folder / _FILE).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                told(min(done, size), size)
        return bool(digest.hexdigest() == mark["digest"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _state(stream: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def _changed(field: str) -> Aborted:
    return Aborted(
        "the data file changed while it was read; try again when nobody writes to it",
        reason="DATA_CHANGED",
        field=field,
    )
