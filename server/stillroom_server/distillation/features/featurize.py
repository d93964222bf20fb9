"""The teacher's vectors of a corpus, of which every shard is computed at most once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillroom_registry.errors import Internal
from stillroom_registry.storage import storage_errors
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.corpus.shards import Corpus, Shard
from stillroom_server.distillation.features.cache import FeatureCache
from stillroom_server.distillation.features.encoding import ShardEncoder
from stillroom_server.distillation.features.features import Features, VectorShard
from stillroom_server.distillation.features.keys import feature_key
from stillroom_server.distillation.features.options import FeatureOptions
from stillroom_server.distillation.features.vector_file import (
    UNFINISHED,
    check_vectors,
    write_vectors,
)

if TYPE_CHECKING:
    from stillroom_server.distillation.teacher import Teacher

PHASE = "featurize"


def featurize(
    load_teacher: Callable[[], Teacher],
    teacher_digest: str,
    corpus: Corpus,
    cache: FeatureCache,
    folder: Path,
    options: FeatureOptions,
    context: Context,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Features:
    """The vectors of ``corpus``, in files in ``folder``, which is theirs alone.

    Shards that are whole in ``folder`` (of an earlier attempt) or in ``cache`` are not computed
    again; if none is missing, ``load_teacher`` is not called. It gives the teacher as ``options``
    say. Vectors are a function of teacher, options and shard, whatever the number of threads.
    Reports the phase ``featurize`` in texts.

    Raises what ``load_teacher`` and ``Shard.texts`` raise; InvalidArgument (UNKNOWN_PROMPT),
    FailedPrecondition (TEACHER_NOT_FINITE), ResourceExhausted (DISK_FULL).
    """
    work = _Work(teacher_digest, options.resolved(), cache, folder, context)
    with storage_errors():
        folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"*{UNFINISHED}"):
        left.unlink(missing_ok=True)
    named = [(f"training-{i:05d}", shard) for i, shard in enumerate(corpus.training)]
    named += [(f"held-out-{i:05d}", shard) for i, shard in enumerate(corpus.held_out)]
    wanted = [work.wanted(name, shard) for name, shard in named]
    # All that is there is linked before anything is computed: what is kept now may push it out.
    missing = [item for item in wanted if not work.find(item)]
    total = sum(item.shard.count for item in wanted)
    cached = total - sum(item.shard.count for item in missing)
    context.progress(PHASE, cached, total, unit="texts", message=f"{cached:,} were there already")
    began, tokens = clock(), 0
    if missing:
        teacher = load_teacher()
        began = clock()
        tokens = work.compute(teacher, missing, cached, total)
    seconds = clock() - began if missing else 0.0
    context.progress(PHASE, total, total, unit="texts")
    split = len(corpus.training)
    shards = [VectorShard(item.path, item.shard.count) for item in wanted]
    return Features(
        dim=work.dim,
        training_shards=tuple(shards[:split]),
        held_out_shards=tuple(shards[split:]),
        texts=total,
        cached=cached,
        seconds=seconds,
        tokens_per_second=tokens / seconds if missing and seconds > 0 else None,
    )


@dataclass(frozen=True)
class _Wanted:
    """A shard of texts, the key of its vectors and where they are to lie."""

    shard: Shard
    key: str
    path: Path


class _Work:
    def __init__(
        self,
        teacher_digest: str,
        options: FeatureOptions,
        cache: FeatureCache,
        folder: Path,
        context: Context,
    ) -> None:
        self._teacher_digest = teacher_digest
        self._options = options
        self._cache = cache
        self._folder = folder
        self._context = context
        self.dim = 0

    def wanted(self, name: str, shard: Shard) -> _Wanted:
        key = feature_key(self._teacher_digest, shard.digest, self._options)
        return _Wanted(shard, key, self._folder / f"{name}.vectors")

    def find(self, item: _Wanted) -> bool:
        """Whether whole vectors are in place; damaged ones are removed."""
        self._context.check_cancelled()
        if self._is_whole(item):
            return True
        item.path.unlink(missing_ok=True)
        if not self._cache.take(item.key, item.path):
            return False
        if self._is_whole(item):
            return True
        item.path.unlink(missing_ok=True)
        self._cache.drop(item.key)
        return False

    def compute(self, teacher: Teacher, missing: list[_Wanted], done: int, total: int) -> int:
        """The vectors of what is missing; how many tokens that were."""
        self._check_teacher(teacher)
        self.dim, tokens = teacher.dim, 0
        with ShardEncoder(teacher, self._options) as encoder:
            for item in missing:
                start = done

                def on_done(count: int, start: int = start) -> None:
                    self._context.progress(PHASE, start + count, total, unit="texts")

                encoded = encoder.encode(item.shard.texts(), on_done, self._context.check_cancelled)
                write_vectors(item.path, item.key, encoded.vectors)
                self._cache.put(item.key, item.path)
                tokens += encoded.tokens
                done += item.shard.count
        return tokens

    def _is_whole(self, item: _Wanted) -> bool:
        columns = check_vectors(item.path, item.key, item.shard.count)
        self.dim = columns or self.dim
        return columns is not None

    def _check_teacher(self, teacher: Teacher) -> None:
        found = (teacher.device.partition(":")[0], teacher.dtype)
        if found != (self._options.device, self._options.dtype):
            raise Internal(
                f"the teacher was loaded as {found}, its vectors are to be kept as"
                f" {(self._options.device, self._options.dtype)}"
            )
