"""How good scores are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.calibration.temperature import fit_temperature, log_loss
from stillroom_server.inference.engines.base import Float32


class Merit(NamedTuple):
    """``log_loss`` is that of calibrated probabilities; multi-label texts are right when all their
    labels are, each there from a probability of one half on."""

    accuracy: float
    macro_f1: float
    log_loss: float


def merit(scores: Float32, targets: NDArray[Any]) -> Merit:
    """scores (n, K); targets int (n,), -1 an unknown label and so an error, or bool (n, K). All 0
    where there is no text."""
    if not len(targets):
        return Merit(0.0, 0.0, 0.0)
    return Merit(
        accuracy(scores, targets),
        macro_f1(scores, targets),
        log_loss(scores, targets, fit_temperature(scores, targets)),
    )


def accuracy(scores: Float32, targets: NDArray[Any]) -> float:
    if not len(targets):
        return 0.0
    if targets.ndim == 2:
        return float(((scores >= 0.0) == targets).all(axis=1).mean())
    return float((scores.argmax(axis=1) == targets).mean())


def macro_f1(scores: Float32, targets: NDArray[Any]) -> float:
    """Over the labels that some text has."""
    if not len(targets):
        return 0.0
    labels = scores.shape[1]
    if targets.ndim == 2:
        given = scores >= 0.0
        hits, asked = (given & targets).sum(axis=0), given.sum(axis=0)
        support = targets.sum(axis=0)
    else:
        best = scores.argmax(axis=1)
        hits = np.bincount(best[best == targets], minlength=labels)
        asked = np.bincount(best, minlength=labels)
        support = np.bincount(targets[targets >= 0], minlength=labels)
    occurs = support > 0
    if not occurs.any():
        return 0.0
    return float((2.0 * hits / np.maximum(asked + support, 1))[occurs].mean())
