"""The one number that scores are divided by, so that probabilities mean what they say.

Guo et al., "On Calibration of Modern Neural Networks" (2017): the temperature at which the true
labels of texts not trained on are most probable.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 1e-3, 1e3
_STEPS = 60
_CLOSE = 1e-7  # of two inverse temperatures, by their ratio
_AT_ONCE = 1 << 20  # scores


def log_loss(
    scores: NDArray[np.floating[Any]], targets: NDArray[Any], temperature: float = 1.0
) -> float:
    """Mean of -log of the true label's probability; of bool ``targets`` (n, K), of each label's.

    scores (n, K); targets int (n,) or bool (n, K). Texts of an unknown label (-1) are left out; 0
    where none is left.
    """
    return _moments(scores, targets, 1.0 / temperature)[0]


def fit_temperature(scores: NDArray[np.floating[Any]], targets: NDArray[Any]) -> float:
    """The temperature of least loss, in [0.001, 1000]; 1 where there is no text.

    As if one text more had each answer: few texts that are all answered right would otherwise make
    every answer certain (Platt, "Probabilistic Outputs for Support Vector Machines", 1999). The
    loss is convex in 1 / temperature: Newton's method, and halves where it leaves the bracket.
    """
    known = len(targets) if targets.ndim == 2 else int((targets >= 0).sum())
    if not known:
        return 1.0
    low, high, inverse = 1.0 / MOST, 1.0 / LEAST, 1.0
    for _ in range(_STEPS):
        _, slope, bend = _moments(scores, targets, inverse, 1.0 / (known + 2.0))
        if slope > 0.0:
            high = inverse
        else:
            low = inverse
        following = inverse - slope / bend if bend > 0.0 else math.inf
        if not low < following < high:
            following = math.sqrt(low * high)
        if abs(following / inverse - 1.0) < _CLOSE:
            break
        inverse = following
    return float(min(max(1.0 / inverse, LEAST), MOST))


def _moments(
    scores: NDArray[np.floating[Any]],
    targets: NDArray[Any],
    inverse: float,
    doubt: float = 0.0,
) -> tuple[float, float, float]:
    """The mean loss at 1 / temperature ``inverse``, and its two derivatives by that. ``doubt``: the
    share of a text that may have any label."""
    multi = targets.ndim == 2
    kept = np.arange(len(targets)) if multi else np.flatnonzero(targets >= 0)
    rows = max(1, _AT_ONCE // max(1, scores.shape[1]))
    loss = slope = bend = 0.0
    for start in range(0, len(kept), rows):
        part = kept[start : start + rows]
        given, truth = scores[part].astype(np.float64), targets[part]
        if multi:
            scaled = given * inverse
            truth = truth * (1.0 - doubt) + doubt / 2.0
            small = np.exp(-np.abs(scaled))
            likely = np.where(scaled >= 0.0, 1.0, small) / (1.0 + small)
            loss += float((np.log1p(small) + np.maximum(scaled, 0.0) - truth * scaled).sum())
            slope += float(((likely - truth) * given).sum())
            bend += float((likely * (1.0 - likely) * given**2).sum())
        else:
            given -= given.max(axis=1, keepdims=True)
            likely = np.exp(given * inverse)
            sums = likely.sum(axis=1)
            likely /= sums[:, None]
            true = given[np.arange(len(part)), truth] * (1.0 - doubt)
            true += doubt * given.mean(axis=1)
            mean = (likely * given).sum(axis=1)
            loss += float((np.log(sums) - true * inverse).sum())
            slope += float((mean - true).sum())
            bend += float((likely * given**2).sum() - (mean**2).sum())
    count = len(kept) * (scores.shape[1] if multi else 1)
    return (loss / count, slope / count, bend / count) if count else (0.0, 0.0, 0.0)
