"""``corpus.json``: the mark of a finished corpus, and what it takes to open it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stillroom_registry.storage import storage_errors
from stillroom_server.distillation.corpus.options import CorpusOptions
from stillroom_server.distillation.corpus.shards import Corpus, Shard, digest_of, write_whole

_FILE = "corpus.json"
_FORMAT = 1  # another number: other texts, or another choice of those held out


def identity(source: object, options: CorpusOptions) -> str:
    """A digest of what was asked for, ``source`` as JSON."""
    asked = {"format": _FORMAT, "source": source, "options": asdict(options)}
    return digest_of(json.dumps(asked, sort_keys=True).encode())


def corpus_digest(training: Sequence[Shard], held_out: Sequence[Shard]) -> str:
    listed = [[[shard.digest, shard.count] for shard in part] for part in (training, held_out)]
    return digest_of(json.dumps([_FORMAT, *listed]).encode())


def save(folder: Path, asked: str, corpus: Corpus, check: Callable[[], None]) -> None:
    """Marks ``corpus``, whose shards lie in ``folder``, as finished, once they are on disk;
    ``check`` is called now and then. Raises ResourceExhausted (DISK_FULL)."""
    with storage_errors():
        for shard in (*corpus.training, *corpus.held_out):
            check()
            with shard.path.open("rb") as stream:
                os.fsync(stream.fileno())
    parts = {"training": corpus.training, "held_out": corpus.held_out}
    value: dict[str, Any] = {
        name: [[shard.path.name, shard.digest, shard.count] for shard in shards]
        for name, shards in parts.items()
    }
    value |= {"asked": asked, "digest": corpus.digest, "facts": corpus.facts}
    body = json.dumps(value)
    seal = hashlib.sha256(body.encode()).hexdigest()
    write_whole(folder / _FILE, f"{seal}\n{body}\n".encode())


def load(folder: Path, asked: str, check: Callable[[], None]) -> Corpus | None:
    """The finished corpus in ``folder`` if it is of ``asked`` and every byte is as it was written;
    ``check`` is called now and then."""
    try:
        seal, body = (folder / _FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if hashlib.sha256(body.encode()).hexdigest() != seal:
        return None
    value = json.loads(body)
    if value["asked"] != asked:
        return None
    parts = {
        name: tuple(Shard(folder / file, digest, count) for file, digest, count in value[name])
        for name in ("training", "held_out")
    }
    for shard in (*parts["training"], *parts["held_out"]):
        check()
        if not shard.is_whole():
            return None
    return Corpus(parts["training"], parts["held_out"], value["digest"], value["facts"])


def clear(folder: Path) -> None:
    """Removes what an earlier attempt left of its corpus, the mark first."""
    (folder / _FILE).unlink(missing_ok=True)
    for pattern in ("*.txt", "*.unfinished"):
        for path in folder.glob(pattern):
            path.unlink()
