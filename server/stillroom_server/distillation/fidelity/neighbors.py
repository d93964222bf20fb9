"""Which texts are nearest to each text, exactly, and how many of them two models share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.vectors import Float32

NEIGHBORS = 10
_BLOCK = 256  # rows whose similarities to all others are held at once


def neighbors_for(rows: int) -> int | None:
    """How many neighbors to compare among ``rows`` texts: 10, or half of the others where those
    are fewer than 20; None below 3 texts. Among 11 texts any ten neighbors are the same."""
    return min(NEIGHBORS, (rows - 1) // 2) if rows >= 3 else None


def nearest(
    units: Float32, count: int, between: Callable[[], None] | None = None
) -> NDArray[np.bool_]:
    """Unit rows (n, d) -> bool (n, n): of each row its ``count`` nearest others, by cosine.

    Exactly ``count`` are true in a row. Of equally near ones the first are taken, so a model that
    tells no texts apart finds another's neighbors by chance alone. ``between`` is called every 256
    rows (cancellation).
    """
    out = np.empty((len(units), len(units)), dtype=np.bool_)
    for start in range(0, len(units), _BLOCK):
        part = slice(start, start + _BLOCK)
        scores = units[part] @ units.T
        rows = np.arange(len(scores))
        scores[rows, rows + start] = -np.inf
        least = np.partition(scores, -count, axis=1)[:, -count, None]
        nearer, ties = scores > least, scores == least
        room = count - nearer.sum(axis=1, keepdims=True)
        out[part] = nearer | (ties & (np.cumsum(ties, axis=1, dtype=np.int32) <= room))
        if between is not None:
            between()
    return out


def recall(teacher: NDArray[np.bool_], student: NDArray[np.bool_]) -> float:
    """Two of ``nearest`` -> the share of the first's neighbors that are the second's, in [0, 1]."""
    return int((teacher & student).sum(dtype=np.int64)) / int(teacher.sum(dtype=np.int64))
