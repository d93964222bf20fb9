"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.vectors import Float64

# Cosines computed in float32 differ by this much though their vectors are the same.
_NOISE = 1e-6


def average_ranks(values: NDArray[np.floating]) -> Float64:
    """(n,) -> float64 (n,): ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Float64 = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def spearman(
    first: NDArray[np.floating], second: NDArray[np.floating], *, noise: float = _NOISE
) -> float | None:
    """Spearman's correlation of two (n,): Pearson's of the average ranks, in [-1, 1].

    None where it is not defined: fewer than two values, or a side that varies by no more than
    ``noise``, whose ranks would be those of rounding errors.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    if len(first) < 2 or min(np.ptp(first), np.ptp(second)) <= noise:
        return None
    a, b = average_ranks(first), average_ranks(second)
    a -= a.mean()
    b -= b.mean()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
