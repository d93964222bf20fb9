"""Similarities of pairs of texts, over a sample of the pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.vectors import Float32

MOST_PAIRS = 100_000
_BLOCK = 8192  # pairs whose vectors are gathered at once


class Pairs(NamedTuple):
    """Pairs of row numbers, int64 (p,) each, ``first`` < ``second``."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]


def sample_pairs(rows: int, seed: int, most: int = MOST_PAIRS) -> Pairs:
    """Distinct pairs of ``rows`` rows: all of them if there are at most ``most``, else about so
    many, drawn alike (a pair drawn twice counts once)."""
    total = rows * (rows - 1) // 2
    if total <= most:
        first, second = np.triu_indices(rows, k=1)
        return Pairs(first.astype(np.int64), second.astype(np.int64))
    drawn = np.unique(np.random.default_rng(seed).integers(0, total, most))
    # Pair number t is (i, j), i < j, where t = j (j - 1) / 2 + i.
    second = ((1.0 + np.sqrt(1.0 + 8.0 * drawn)) / 2.0).astype(np.int64)
    second[second * (second - 1) // 2 > drawn] -= 1  # the square root was rounded up
    second[second * (second + 1) // 2 <= drawn] += 1  # or down
    return Pairs(drawn - second * (second - 1) // 2, second)


def similarities(
    units: Float32, pairs: Pairs, between: Callable[[], None] | None = None
) -> Float32:
    """Unit rows (n, d) and pairs -> their cosines, float32 (p,). ``between`` is called every few
    thousand pairs (cancellation)."""
    out = np.empty(len(pairs.first), dtype=np.float32)
    for start in range(0, len(out), _BLOCK):
        part = slice(start, start + _BLOCK)
        out[part] = np.einsum("nd,nd->n", units[pairs.first[part]], units[pairs.second[part]])
        if between is not None:
            between()
    return out
