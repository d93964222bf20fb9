"""A corpus on disk: shards of texts, one text a line, each with the digest of its bytes."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.durable import sync_folder
from stillroom_registry.errors import DataLoss
from stillroom_registry.storage import storage_errors

SHARD_TEXTS = 2048


@dataclass(frozen=True)
class Shard:
    """``count`` texts, at most SHARD_TEXTS; ``digest`` is ``sha256:<hex>`` of them in their order,
    each followed by a line feed, as UTF-8: of the file's bytes."""

    path: Path
    digest: str
    count: int

    def texts(self) -> list[str]:
        """The texts in their order, no more than 16,384 bytes each, with no control characters.
        Raises DataLoss (CORPUS_DAMAGED)."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError as error:
            raise self._damaged() from error
        if digest_of(data) != self.digest:
            raise self._damaged()
        return data.decode("utf-8").split("\n")[:-1]

    def is_whole(self) -> bool:
        try:
            with self.path.open("rb") as stream:
                return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}" == self.digest
        except FileNotFoundError:
            return False

    def _damaged(self) -> DataLoss:
        return DataLoss(
            f"{self.path.name} of the corpus is damaged; start the operation again",
            reason="CORPUS_DAMAGED",
            field="corpus",
        )


@dataclass(frozen=True)
class Corpus:
    """Distinct texts, those to train on and those held out, in shards that are all full but the
    last. ``digest`` covers both and their order.

    ``facts``, for people and reports: ``lines`` read (records, of a table) = ``blank`` +
    ``duplicates`` + ``texts``; ``cut`` texts were too long; ``held_out`` of the texts are held out;
    ``bytes`` of all texts; ``digest``; ``source``, where they are from, with a dataset's commit.
    """

    training: tuple[Shard, ...]
    held_out: tuple[Shard, ...]
    digest: str
    facts: Mapping[str, Any]


class ShardWriter:
    """Writes texts to ``folder`` as they come; the files begin with ``prefix``. They are not synced
    one by one, which would take longer than all the rest: a mark, written later, makes them valid
    together (see ``record``)."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._waiting: list[bytes] = []
        self.shards: list[Shard] = []
        self.bytes = 0

    def add(self, texts: Iterable[bytes]) -> None:
        """Raises ResourceExhausted (DISK_FULL)."""
        for text in texts:
            self._waiting.append(text)
            if len(self._waiting) == SHARD_TEXTS:
                self._flush()

    def finish(self) -> tuple[Shard, ...]:
        """Every shard, the last and smaller one too."""
        if self._waiting:
            self._flush()
        return tuple(self.shards)

    def _flush(self) -> None:
        data = b"\n".join(self._waiting) + b"\n"
        path = self._folder / f"{self._prefix}-{len(self.shards):05d}.txt"
        _write(path, data, sync=False)
        self.shards.append(Shard(path, digest_of(data), len(self._waiting)))
        self.bytes += len(data) - len(self._waiting)
        self._waiting = []


def write_whole(path: Path, data: bytes) -> None:
    """Give ``data`` its name when it is on disk. Raises ResourceExhausted (DISK_FULL)."""
    _write(path, data, sync=True)


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    # A name of its own: an earlier attempt may have been taken for dead and still write.
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        with storage_errors():
            with unfinished.open("xb") as stream:
                stream.write(data)
                if sync:
                    stream.flush()
                    os.fsync(stream.fileno())
            unfinished.replace(path)
            if sync:
                sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
