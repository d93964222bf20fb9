"""What one fit learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.features.ngram_matrix import Sparse
from stillroom_server.classification.training.losses import Loss
from stillroom_server.inference.classifier.head import HeadArrays, NgramArrays
from stillroom_server.inference.engines.base import Float32, Ids, Offsets

NGRAM_SCALE = 1.0
"""How large a bag of runs counts beside a vector, to a solver that holds both to one norm."""
STEP_SCALE = 2.0
"""The same to gradient steps, which move all weights alike."""


@dataclass(frozen=True)
class Problem:
    """n training texts: vectors float32 (n, d), targets int (n,) or bool (n, labels), and of a
    static student ids and offsets. ``ngrams`` are the chosen runs, ``matrix`` (n, features + 1)
    theirs."""

    vectors: Float32
    targets: NDArray[Any]
    labels: int
    loss: Loss
    ngrams: NgramArrays | None = None
    matrix: Sparse | None = None
    ids: Ids | None = None
    offsets: Offsets | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def features(self) -> int:
        """Columns of ``matrix``."""
        return 0 if self.matrix is None else int(self.matrix.shape[1])

    def head(self, weights: Float32, bias: Float32) -> HeadArrays:
        """A linear head of weights (d + features, K), as the solvers scale those of n-grams."""
        own = np.ascontiguousarray(weights[: self.dimensions])
        return HeadArrays(
            ((own, np.ascontiguousarray(bias)),),
            self.with_rows(weights[self.dimensions :], NGRAM_SCALE),
        )

    def with_rows(self, rows: Float32, scale: float) -> NgramArrays | None:
        """The chosen runs with what they add, (features, K)."""
        if self.ngrams is None:
            return None
        kept = (rows * np.float32(scale)).astype(np.float32)
        kept[0] = 0.0
        chosen = self.ngrams
        return NgramArrays(chosen.min_n, chosen.max_n, chosen.slots, chosen.prints, kept)
