"""Where the teacher's vectors of single tokens lie among its vectors of sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.targets import unit
from stillroom_server.distillation.tuning.threads import Sparse, matmul, solve, sparse_times


class Block(NamedTuple):
    """Reads the bags (n, rows) and the targets (n, d) of some texts, so that a corpus may be larger
    than memory. Targets are computed anew each time, and cost more than bags."""

    bags: Callable[[], Sparse]
    targets: Callable[[], NDArray[np.float32]]


Blocks = Sequence[Block]

FREQUENCY = 3e-3
"""The a of the token weight a / (a + p). Larger than a static student's: p is counted here."""
_BENT = 1024  # random features beside a vector's own elements
_RIDGE = 0.1  # of the map, in texts
_AT_ONCE = 4096  # rows; bounds memory


class RowFeatures:
    """A vector beside random bent directions of it, so that a linear map of both is not linear.

    Random features (Rahimi and Recht, NeurIPS 2007) of the rectifier; the same in every run.
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """``rows`` (V, h) are those of a vocabulary."""
        random = np.random.Generator(np.random.PCG64(0))
        width = rows.shape[1]
        self._directions = random.standard_normal((width, _BENT), dtype=np.float32)
        self._directions /= np.float32(math.sqrt(width))
        self._offsets = random.standard_normal(_BENT, dtype=np.float32) * np.float32(0.3)
        self._mean = rows.mean(axis=0)
        self._spread = max(float(rows.std(dtype=np.float64)), 1e-12)
        self._own, self._center, self._bent = 1.0, np.zeros(_BENT, dtype=np.float32), 1.0
        some = rows[:: max(1, len(rows) // _AT_ONCE)]
        bent = self._bend(some)
        self._center = bent.mean(axis=0)
        # Both parts of the same length, on average.
        self._own = _length(some)
        self._bent = _length(bent - self._center)

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(k, h) -> (k, h + _BENT)."""
        bent = (self._bend(rows) - self._center) / np.float32(self._bent)
        return np.concatenate([rows / np.float32(self._own), bent], axis=1)

    def _bend(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        centered = (rows - self._mean) / np.float32(self._spread)
        return np.maximum(matmul(centered, self._directions) + self._offsets, np.float32(0.0))


def token_weights(usage: NDArray[np.float64]) -> NDArray[np.float32]:
    """Occurrences (V,) -> weights a / (a + p) (V,), p the smoothed share of all occurrences.

    Smooth inverse frequency (Arora, Liang and Ma, ICLR 2017).
    """
    shares = (usage + 1.0) / (usage.sum() + len(usage))
    weights: NDArray[np.float32] = (FREQUENCY / (FREQUENCY + shares)).astype(np.float32)
    return weights


def mapped(
    blocks: Blocks,
    rows: NDArray[np.float32],
    weights: NDArray[np.float32],
    tell: Callable[[], None],
) -> NDArray[np.float32]:
    """The teacher's rows (V, h) and their weights (V,) -> (V, d), by the map of their features that
    brings a text's sum, normalized, nearest to its target: least squares with a little ridge.

    The lengths are such that a text's sum has on average the square root of its number of rows.
    ``tell`` is called for every block.
    """
    features = RowFeatures(rows)
    the_map = _linear_map(blocks, features, rows, weights, tell)
    table = np.empty((len(rows), the_map.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        table[part] = matmul(features(rows[part]) * weights[part, None], the_map)
    squares, expected = 0.0, 0.0
    for block in blocks:
        tell()
        bags = block.bags()
        sums = sparse_times(bags[:, : len(rows)], table)
        squares += float(np.einsum("nd,nd->n", sums, sums).sum(dtype=np.float64))
        expected += float(bags.sum(dtype=np.float64))
    return table * np.float32(math.sqrt(expected / max(squares, 1e-30)))


def _linear_map(
    blocks: Blocks,
    features: RowFeatures,
    rows: NDArray[np.float32],
    weights: NDArray[np.float32],
    tell: Callable[[], None],
) -> NDArray[np.float32]:
    left: NDArray[np.float64] | None = None
    right: NDArray[np.float64] | None = None
    for block in blocks:
        tell()
        bags, targets = block.bags(), block.targets()
        used = np.unique(bags.indices)
        used = used[used < len(rows)]
        sums = unit(sparse_times(bags[:, used], features(rows[used]) * weights[used, None]))
        squares = matmul(sums.T, sums).astype(np.float64)
        products = matmul(sums.T, targets).astype(np.float64)
        left = squares if left is None else left + squares
        right = products if right is None else right + products
    assert left is not None
    assert right is not None
    return solve(left + _RIDGE * np.eye(len(left)), right).astype(np.float32)


def _length(vectors: NDArray[np.float32]) -> float:
    return max(float(np.linalg.norm(vectors, axis=1).mean(dtype=np.float64)), 1e-12)
