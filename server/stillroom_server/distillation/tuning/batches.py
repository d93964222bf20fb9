"""In which order texts are trained on, and what is random beside it.

Both are functions of the seed, the epoch and the step alone, so nothing random has a state to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BATCH = 512
_BUFFER_BYTES = 96 << 20  # of teacher vectors in memory at once


@dataclass(frozen=True)
class Portion:
    """Shards that are in memory together, and the order of their texts: ``batches`` are positions
    in the shards' texts, one shard behind the other."""

    shards: tuple[int, ...]
    batches: tuple[NDArray[np.int64], ...]


def portions(counts: Sequence[int], width: int, seed: int, epoch: int) -> Iterator[Portion]:
    """An epoch over shards of ``counts`` texts with vectors of ``width``.

    Shards are shuffled, then the texts of as many as fit the buffer. Each text is in one batch; the
    last of a portion may have fewer texts than others, but no fewer than half a batch where there
    are more than that.
    """
    random = generator(seed, epoch)
    order = random.permutation(len(counts)).tolist()
    for shards in _groups(order, counts, max(_BUFFER_BYTES // (4 * width), 2 * BATCH)):
        texts = sum(counts[shard] for shard in shards)
        batches = max(1, round(texts / BATCH))
        shuffled = random.permutation(texts)
        yield Portion(tuple(shards), tuple(np.array_split(shuffled, batches)))


def steps_of(counts: Sequence[int], width: int, seed: int, epoch: int) -> int:
    """How many batches the epoch has."""
    return sum(len(portion.batches) for portion in portions(counts, width, seed, epoch))


def generator(*keys: int) -> np.random.Generator:
    """Its own sequence for each list of keys."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))


def _groups(order: Sequence[int], counts: Sequence[int], most: int) -> Iterator[list[int]]:
    group: list[int] = []
    texts = 0
    for shard in order:
        if group and texts + counts[shard] > most:
            yield group
            group, texts = [], 0
        group.append(shard)
        texts += counts[shard]
    if group:
        yield group
