"""Texts with their teacher vectors: to measure a student on, and to fit its map to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.vectors import Float32

_SHARDS = 16  # of which a sample is taken; reading all of a large corpus would take minutes


class Shard(Protocol):
    """A piece of a corpus: ``count`` texts in a fixed order."""

    @property
    def count(self) -> int: ...

    def texts(self) -> list[str]: ...


@dataclass(frozen=True)
class Sample:
    """n texts and the teacher's vectors of them, float32 (n, h)."""

    texts: Sequence[str]
    vectors: Float32

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.vectors):
            raise ValueError(f"{len(self.texts)} texts, {len(self.vectors)} vectors")

    def __len__(self) -> int:
        return len(self.texts)

    def at_most(self, most: int, seed: int) -> Sample:
        """Itself, or ``most`` of its texts, in their order."""
        if len(self) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False))
        return Sample([self.texts[i] for i in kept], self.vectors[kept])


def from_shards(
    shards: Sequence[Shard],
    vectors: Callable[[int], NDArray[np.float32]],
    most: int,
    seed: int = 0,
) -> Sample | None:
    """At most ``most`` texts of ``shards``, drawn evenly from at most sixteen of them, in their
    order; ``vectors(i)`` are the teacher's of shard i. None without texts."""
    rng = np.random.default_rng(seed)
    chosen = [i for i, shard in enumerate(shards) if shard.count]
    if sum(shards[i].count for i in chosen) > most and len(chosen) > _SHARDS:
        chosen = sorted(rng.choice(chosen, _SHARDS, replace=False).tolist())
    total = sum(shards[i].count for i in chosen)
    if not total:
        return None
    kept = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    texts: list[str] = []
    parts: list[NDArray[np.float32]] = []
    first = 0
    for i in chosen:
        rows = kept[(kept >= first) & (kept < first + shards[i].count)] - first
        first += shards[i].count
        if len(rows):
            own = shards[i].texts()
            texts += [own[row] for row in rows]
            parts.append(np.asarray(vectors(i)[rows], dtype=np.float32))
    return Sample(texts, np.concatenate(parts))


@cache
def built_in_texts() -> tuple[str, ...]:
    """About 300 English sentences of many subjects and kinds, which come along with the server."""
    text = files(__package__).joinpath("probe_texts.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())
