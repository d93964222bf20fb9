"""Which texts make which step: a pure function of the seed, the corpus and the epoch, in bounded
memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer
from stillroom_server.distillation.tuning.protocols import Corpus, Features, Shard

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]

BATCH_TEXTS = 32
OTHERS = 256
# Texts that are shuffled together: shards of 2,048. Their token ids and vectors are in memory.
_GROUP_SHARDS = 8
# Batches whose texts are sorted by length together. Fewer mix lengths better, more pad less.
_WINDOW_BATCHES = 16
_TOKENIZED_TOGETHER = 256


@dataclass(frozen=True)
class Batch:
    """One step. ``rows``: the token ids of each text; ``targets`` (n, d): the teacher's vectors;
    ``others`` (m, d): the teacher's vectors of texts drawn at random."""

    rows: list[list[int]]
    targets: Vectors
    others: Vectors


def epoch_steps(counts: Sequence[int], seed: int, epoch: int) -> int:
    """How many batches ``epoch_batches`` has at most for shards of so many texts."""
    return sum(
        -(-sum(counts[index] for index in group) // BATCH_TEXTS)
        for group in _groups(len(counts), seed, epoch)
    )


def epoch_batches(
    corpus: Corpus,
    features: Features,
    tokenizer: TeacherTokenizer,
    prompt: str,
    seed: int,
    epoch: int,
    skip: int = 0,
) -> Iterator[Batch]:
    """The batches of an epoch from batch ``skip`` on. Groups of shards that are skipped as a whole
    are not read."""
    counts = [shard.count for shard in corpus.training]
    for number, group in enumerate(_groups(len(counts), seed, epoch)):
        steps = -(-sum(counts[index] for index in group) // BATCH_TEXTS)
        if skip >= steps:
            skip -= steps
            continue
        rows: list[list[int]] = []
        for index in group:
            rows += tokenize(corpus.training[index], tokenizer, prompt)
        targets = np.concatenate([features.training(index) for index in group])
        order = np.random.default_rng((seed, epoch, number + 1)).permutation(len(rows))
        batches = _by_length(order, [len(row) for row in rows])
        shuffled = np.random.default_rng((seed, epoch, number + 1, 1)).permutation(len(batches))
        for at in shuffled[skip:]:
            chosen = batches[at]
            drawn = np.random.default_rng((seed, epoch, number + 1, 2, int(at)))
            others = drawn.integers(0, len(rows), min(OTHERS, len(rows)))
            yield Batch([rows[i] for i in chosen], targets[chosen], targets[others])
        skip = 0


def tokenize(shard: Shard, tokenizer: TeacherTokenizer, prompt: str) -> list[list[int]]:
    texts = shard.texts()
    rows: list[list[int]] = []
    for start in range(0, len(texts), _TOKENIZED_TOGETHER):
        rows += tokenizer.encode([prompt + t for t in texts[start : start + _TOKENIZED_TOGETHER]])
    return [row or [0] for row in rows]  # no attention over nothing


def padded(rows: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """(n, s) ids and mask, padded to the right; one column at least."""
    ids = np.zeros((len(rows), max(1, *map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return ids, mask


def _groups(shards: int, seed: int, epoch: int) -> list[list[int]]:
    order = np.random.default_rng((seed, epoch, 0)).permutation(shards).tolist()
    return [order[at : at + _GROUP_SHARDS] for at in range(0, shards, _GROUP_SHARDS)]


def _by_length(order: NDArray[np.int64], lengths: Sequence[int]) -> list[list[int]]:
    """Batches of texts of about one length; within a window of the shuffled order only, so that
    the texts of a batch change from epoch to epoch."""
    batches = []
    window = BATCH_TEXTS * _WINDOW_BATCHES
    for start in range(0, len(order), window):
        chosen = sorted(order[start : start + window].tolist(), key=lambda i: (lengths[i], i))
        batches += [chosen[at : at + BATCH_TEXTS] for at in range(0, len(chosen), BATCH_TEXTS)]
    return batches
