"""The mean loss of a linear head and its derivative, over all training texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stillroom_server.classification.training.problem import NGRAM_SCALE, Problem
from stillroom_server.classification.training.threads import Product
from stillroom_server.inference.engines.base import Float32

_SCORES_AT_ONCE = 1 << 24


class LinearObjective:
    """``loss`` plus ``l2`` |W|^2, the bias free, of theta float32 ((d + features + 1) * K,): the
    weights (d + features, K), then the bias. ``tick`` is called at every evaluation and may raise
    to stop."""

    def __init__(self, problem: Problem, l2: float, tick: Callable[[], None]) -> None:
        self._problem = problem
        self.l2 = l2
        self._tick = tick
        self._weights = problem.dimensions + problem.features
        self.size = (self._weights + 1) * problem.labels
        rows = max(1, _SCORES_AT_ONCE // problem.labels)
        self._blocks = [
            slice(start, min(start + rows, len(problem))) for start in range(0, len(problem), rows)
        ]
        self._sparse: list[tuple[Product, Product]] = []
        if problem.matrix is not None:
            scaled = problem.matrix * np.float32(NGRAM_SCALE)
            for block in self._blocks:
                part = scaled[block]
                self._sparse.append((Product(part), Product(part.T.tocsr())))

    def parts(self, theta: Float32) -> tuple[Float32, Float32]:
        """Weights (d + features, K) and bias (K,), views."""
        table = theta.reshape(self._weights + 1, self._problem.labels)
        return table[:-1], table[-1]

    def __call__(self, theta: Float32) -> tuple[float, Float32]:
        problem, d = self._problem, self._problem.dimensions
        weights, bias = self.parts(theta)
        gradient = np.zeros_like(theta)
        slope, bias_slope = self.parts(gradient)
        total = 0.0
        for at, block in enumerate(self._blocks):
            self._tick()
            vectors = problem.vectors[block]
            scores = vectors @ weights[:d]
            scores += bias
            if self._sparse:
                scores += self._sparse[at][0].times(weights[d:])
            loss, errors = problem.loss.gradient(scores, problem.targets[block])
            total += loss
            slope[:d] += vectors.T @ errors
            bias_slope += errors.sum(axis=0)
            if self._sparse:
                slope[d:] += self._sparse[at][1].times(errors)
        count = np.float32(1.0 / len(problem))
        gradient *= count
        slope += np.float32(2.0 * self.l2) * weights
        norm = float(np.dot(weights.ravel(), weights.ravel()))
        return total / len(problem) + self.l2 * norm, gradient
