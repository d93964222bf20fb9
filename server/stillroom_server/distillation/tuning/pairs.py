"""Which pairs of words say something that their words, added up, do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.mapping import Block
from stillroom_server.distillation.tuning.start import PRIOR
from stillroom_server.distillation.tuning.targets import unit
from stillroom_server.distillation.tuning.threads import Sparse, sparse_times
from stillroom_server.distillation.tuning.words import Spelling


def occurrences(
    texts: Sequence[str], spelling: Spelling, places: dict[str, int], tell: Callable[[], None]
) -> Sparse:
    """How often each pair is in each text: (texts, pairs) float32; ``places`` are their columns."""
    from scipy import sparse

    columns: list[int] = []
    indptr = [0]
    for text in texts:
        tell()
        columns += [places[pair] for pair in spelling.read(text)[1] if pair in places]
        indptr.append(len(columns))
    data = np.ones(len(columns), dtype=np.float32)
    shape = (len(texts), len(places))
    return sparse.csr_matrix((data, np.array(columns, dtype=np.int32), indptr), shape=shape)


class PairGains:
    """How much the squared distance to the targets would fall if a pair had a row of its own.

    What is left of the targets, summed over a pair's texts, is the slope of its difference; the
    gain is that of the one step of Newton's method that ridge regression would take for it alone,
    as in gradient boosting (Friedman, Annals of Statistics 2001).
    """

    def __init__(self, pairs: int, dimensions: int) -> None:
        self._slopes = np.zeros((pairs, dimensions), dtype=np.float32)
        self._curvatures = np.full(pairs, PRIOR)

    def add(self, pairs: Sparse, block: Block, table: NDArray[np.float32]) -> None:
        """``pairs`` (n, pairs) of the texts of ``block``, and the table (rows, d) fitted so far."""
        sums = sparse_times(block.bags(), table)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        scale = np.where(lengths > 1e-6, 1.0 / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)
        scaled = pairs.multiply(scale).tocsr().T.tocsr()
        self._slopes += sparse_times(scaled, unit(block.targets()) - unit(sums))
        self._curvatures += np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel()

    def best(self, most: int) -> list[int]:
        """The ``most`` pairs that gain the most, the best first."""
        gains = np.einsum("pd,pd->p", self._slopes, self._slopes) / self._curvatures
        order = np.argsort(-gains, kind="stable")
        return [int(pair) for pair in order[:most] if gains[pair] > 0.0]
