"""Ridge regression of label indicators, and what makes probabilities of it.

The scores are scaled by what makes them most probable where each text is left out of its own fit,
which a linear fit tells without being done again (Cook and Weisberg, 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.calibration.temperature import fit_temperature
from stillroom_server.classification.training.lbfgs import check_finite
from stillroom_server.classification.training.problem import NGRAM_SCALE, Problem
from stillroom_server.inference.classifier.head import HeadArrays

MOST_TEXTS = 4096
"""Texts up to which it solves for texts rather than for features, whichever are fewer."""
_ROWS = 2048
_LEAST_L2 = 1e-9  # keeps the system regular

Double = NDArray[np.float64]


def fit_closed_form(problem: Problem, l2: float, tick: Callable[[], None]) -> HeadArrays:
    """Minimizes the mean squared error plus ``l2`` |W|^2, the bias included. ``tick`` is called
    between blocks and may raise to stop. Raises Internal (LOSS_NOT_FINITE)."""
    count = len(problem)
    weights = _text_weights(problem)
    wanted = _indicators(problem)
    penalty = max(l2, _LEAST_L2) * count
    features = problem.dimensions + problem.features + 1
    if count <= min(features, MOST_TEXTS):
        found, left_out = _by_texts(problem, wanted, weights, penalty, tick)
    else:
        found, left_out = _by_features(problem, wanted, weights, penalty, tick)
    check_finite(float(found.sum()))
    scale = 1.0 / fit_temperature(left_out, problem.targets)
    return problem.head(
        (found[:-1] * scale).astype(np.float32), (found[-1] * scale).astype(np.float32)
    )


def _by_texts(
    problem: Problem, wanted: Double, weights: Double, penalty: float, tick: Callable[[], None]
) -> tuple[Double, Double]:
    """Weights (features, K), the bias last, and the scores of left out texts (n, K)."""
    root = np.sqrt(weights)
    vectors = problem.vectors.astype(np.float64)
    kernel = vectors @ vectors.T + 1.0
    if problem.matrix is not None:
        scaled = problem.matrix.astype(np.float64)
        kernel += NGRAM_SCALE**2 * (scaled @ scaled.T).toarray()
    kernel *= root[:, None] * root
    tick()
    kernel[np.diag_indices_from(kernel)] += penalty
    inverse = np.linalg.inv(kernel)
    tick()
    dual = inverse @ (root[:, None] * wanted)
    # Of the weighted fit: its error with the text left out is dual / diagonal of the inverse.
    left_out = wanted - dual / np.diag(inverse)[:, None] / root[:, None]
    dual *= root[:, None]
    parts = [vectors.T @ dual]
    if problem.matrix is not None:
        parts.append(NGRAM_SCALE * (scaled.T @ dual))
    parts.append(dual.sum(axis=0, keepdims=True))
    return np.concatenate(parts), left_out


def _by_features(
    problem: Problem, wanted: Double, weights: Double, penalty: float, tick: Callable[[], None]
) -> tuple[Double, Double]:
    width = problem.dimensions + problem.features + 1
    gram = np.zeros((width, width))
    right = np.zeros((width, problem.labels))
    for start in range(0, len(problem), _ROWS):
        tick()
        part = slice(start, min(start + _ROWS, len(problem)))
        rows = _rows(problem, part)
        weighted = rows * weights[part, None]
        gram += rows.T @ weighted
        right += weighted.T @ wanted[part]
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    tick()
    found = inverse @ right
    left_out = np.empty_like(wanted)
    for start in range(0, len(problem), _ROWS):
        tick()
        part = slice(start, min(start + _ROWS, len(problem)))
        rows = _rows(problem, part)
        leverage = np.minimum(((rows @ inverse) * rows).sum(axis=1) * weights[part], 1.0 - 1e-9)
        given = rows @ found
        left_out[part] = wanted[part] - (wanted[part] - given) / (1.0 - leverage[:, None])
    return found, left_out


def _rows(problem: Problem, part: slice) -> Double:
    blocks = [problem.vectors[part].astype(np.float64)]
    if problem.matrix is not None:
        blocks.append(problem.matrix[part].toarray().astype(np.float64) * NGRAM_SCALE)
    blocks.append(np.ones((len(blocks[0]), 1)))
    return np.concatenate(blocks, axis=1)


def _indicators(problem: Problem) -> Double:
    """(n, K): 1 for a label that a text has, else 0; multi-label: -1."""
    if problem.loss.multi_label:
        return np.where(problem.targets, 1.0, -1.0)
    wanted = np.zeros((len(problem), problem.labels))
    wanted[np.arange(len(problem)), problem.targets] = 1.0
    return wanted


def _text_weights(problem: Problem) -> NDArray[Any]:
    """(n,). Multi-label: a text counts as much as the heaviest of its labels."""
    weights = problem.loss.weights
    if weights is None:
        return np.ones(len(problem))
    if not problem.loss.multi_label:
        return np.asarray(weights[problem.targets], np.float64)
    return np.asarray(np.where(problem.targets, weights, 1.0).max(axis=1), np.float64)
