"""Logistic regression, the usual probe of frozen vectors.

The same problem as scikit-learn's LogisticRegression(C=10, max_iter=1000), solved by the same
L-BFGS; written here because a fit takes up to minutes and a cancelled operation ends in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_C = 10.0
_MOST_ITERATIONS = 1000
_TOLERANCE = 1e-4

Float = NDArray[np.floating]


def fit_predict(
    training: Float,
    labels: NDArray[np.int64],
    classes: int,
    test: Float,
    between: Callable[[], None] | None = None,
) -> NDArray[np.int64]:
    """Training rows (n, d) with ``labels`` (n,) in [0, classes), test rows (m, d) -> predicted
    labels (m,).

    Minimizes the mean cross-entropy plus |W|^2 / (2 C n), the intercept free. Two classes have one
    weight vector, more have one each. ``between`` is called at every evaluation (cancellation).
    """
    from scipy.optimize import minimize

    rows, width = training.shape
    outputs = 1 if classes == 2 else classes
    targets = np.zeros((rows, outputs), dtype=training.dtype)
    if outputs == 1:
        targets[:, 0] = labels
    else:
        targets[np.arange(rows), labels] = 1.0

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if between is not None:
            between()
        weights = flat.reshape(width + 1, outputs)
        scores = _scores(training, weights)
        loss, errors = _loss(scores, targets)
        gradient = np.empty_like(weights)
        gradient[:width] = (training.T @ errors) / rows + weights[:width] / (_C * rows)
        gradient[width] = errors.sum(axis=0, dtype=np.float64) / rows
        penalty = float(np.sum(weights[:width] ** 2)) / (2.0 * _C * rows)
        return loss / rows + penalty, gradient.ravel()

    found = minimize(
        objective,
        np.zeros((width + 1) * outputs),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": _MOST_ITERATIONS,
            "maxls": 50,
            "gtol": _TOLERANCE,
            "ftol": 64 * np.finfo(np.float64).eps,
        },
    )
    scores = _scores(test, found.x.reshape(width + 1, outputs))
    chosen = scores[:, 0] > 0.0 if outputs == 1 else scores.argmax(axis=1)
    return chosen.astype(np.int64)


def _scores(rows: Float, weights: NDArray[np.float64]) -> Float:
    scores: Float = rows @ weights[:-1].astype(rows.dtype)
    scores += weights[-1].astype(rows.dtype)
    return scores


def _loss(scores: Float, targets: Float) -> tuple[float, Float]:
    """Summed cross-entropy, and its derivative by the scores (n, outputs)."""
    if scores.shape[1] == 1:
        loss = np.logaddexp(0.0, scores) - targets * scores
        # The logistic function without overflow on either side.
        return float(loss.sum(dtype=np.float64)), 0.5 * (1.0 + np.tanh(0.5 * scores)) - targets
    shifted = scores - scores.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted)
    sums = probabilities.sum(axis=1, keepdims=True)
    chosen = (shifted * targets).sum(axis=1, keepdims=True)
    loss = np.log(sums) - chosen
    probabilities /= sums
    probabilities -= targets
    return float(loss.sum(dtype=np.float64)), probabilities
