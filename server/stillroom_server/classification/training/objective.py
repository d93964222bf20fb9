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
        self._preconditioner: tuple[Float32, Float32] | None = None
        self._sparse: list[tuple[Product, Product]] = []
        if problem.matrix is not None:
            scaled = problem.matrix * np.float32(NGRAM_SCALE)
            for block in self._blocks:
                part = scaled[block]
                self._sparse.append((Product(part), Product(part.T.tocsr())))

    def precondition(self, direction: Float32) -> Float32:
        """By the inverse of the second derivative where all labels are about as likely: of the
        vectors whole, of n-grams the diagonal, which is near."""
        weights, bias = self.parts(direction)
        out = np.empty_like(direction)
        new, new_bias = self.parts(out)
        d = self._problem.dimensions
        dense, scales = self._inverse()
        both = np.concatenate([weights[:d], bias[None]])
        both = dense @ both
        new[:d], new_bias[:] = both[:-1], both[-1]
        new[d:] = weights[d:] * scales
        return out

    def _inverse(self) -> tuple[Float32, Float32]:
        """(d + 1, d + 1) of vectors and the bias, (features, 1) of n-grams; made once."""
        if self._preconditioner is None:
            problem = self._problem
            spread = 0.25 if problem.loss.multi_label else 1.0 / problem.labels
            gram = np.zeros((problem.dimensions + 1,) * 2)
            for block in self._blocks:
                self._tick()
                rows = problem.vectors[block]
                gram[:-1, :-1] += rows.T @ rows
                gram[:-1, -1] += rows.sum(axis=0)
            gram[-1, :-1] = gram[:-1, -1]
            gram[-1, -1] = len(problem)
            gram *= spread / len(problem)
            ridge = np.full(len(gram), 2.0 * self.l2 + 1e-6 * spread)
            ridge[-1] = 1e-6 * spread
            gram[np.diag_indices_from(gram)] += ridge
            squares = np.zeros((problem.features, 1))
            if problem.matrix is not None:
                scaled = problem.matrix.multiply(problem.matrix)
                squares = np.asarray(scaled.sum(axis=0), np.float64).reshape(-1, 1)
                squares *= NGRAM_SCALE**2 * spread / len(problem)
            diagonal = 1.0 / (squares + 2.0 * self.l2 + 1e-6 * spread)
            self._preconditioner = (
                np.linalg.inv(gram).astype(np.float32),
                diagonal.astype(np.float32),
            )
        return self._preconditioner

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
