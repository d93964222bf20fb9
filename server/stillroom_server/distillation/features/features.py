"""The teacher's vectors of a corpus, shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.features.vector_file import map_vectors


@dataclass(frozen=True)
class VectorShard:
    """``count`` vectors in a file that was checked."""

    path: Path
    count: int


@dataclass(frozen=True)
class Features:
    """Vectors of ``dim`` columns of the shards of a corpus, as the teacher gives them (so with unit
    length only if it normalizes). ``texts`` in all, of which ``cached`` were there already;
    ``seconds`` the others took, ``tokens_per_second`` with real tokens, padding not counted (None:
    nothing was computed). These two are measured on the clock, so no two runs have the same.
    """

    dim: int
    training_shards: tuple[VectorShard, ...]
    held_out_shards: tuple[VectorShard, ...]
    texts: int
    cached: int
    seconds: float
    tokens_per_second: float | None

    def training(self, index: int) -> NDArray[np.float32]:
        """The (n, dim) vectors of the texts of the corpus's ``training[index]``, read-only and
        mapped: only what is looked at is in memory."""
        return self._mapped(self.training_shards[index])

    def held_out(self, index: int) -> NDArray[np.float32]:
        """As ``training``, of the corpus's ``held_out[index]``."""
        return self._mapped(self.held_out_shards[index])

    def all_held_out(self) -> NDArray[np.float32]:
        """The vectors of every held out text, at most (4096, dim), in memory."""
        parts = [self._mapped(shard) for shard in self.held_out_shards]
        return np.concatenate([np.empty((0, self.dim), dtype=np.float32), *parts])

    @property
    def facts(self) -> Mapping[str, Any]:
        """For reports: ``texts``, ``cached``, ``seconds``, ``tokens_per_second``."""
        return {
            "texts": self.texts,
            "cached": self.cached,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
        }

    def _mapped(self, shard: VectorShard) -> NDArray[np.float32]:
        return map_vectors(shard.path, shard.count, self.dim)
