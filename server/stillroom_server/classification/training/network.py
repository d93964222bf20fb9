"""A head, and what is tuned of a static student, as one function with a derivative.

    vector = normalized sum of token_weights[t] * table[t] over the known tokens of a text
    scores = layers(vector) + scale * sum(rows of its n-grams) / sqrt(their number)

Written out by hand: for texts of some dozen tokens the arithmetic is sparse products, and nothing
but numpy and scipy need be loaded for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.features.encoded import StudentTable, take_tokens
from stillroom_server.classification.features.ngram_matrix import Sparse
from stillroom_server.classification.training.problem import STEP_SCALE, Problem
from stillroom_server.inference.classifier.head import HeadArrays
from stillroom_server.inference.engines.base import Float32, Ids, Offsets

TABLE, TOKEN_WEIGHTS, ROWS = "table", "token_weights", "rows"

Slopes: TypeAlias = dict[str, tuple[NDArray[np.int64] | None, Float32]]
"""By name: the rows that are touched (None: the whole array), and the derivative by them."""


@dataclass(frozen=True)
class Dropout:
    """Shares left out of a training step: of hidden units, and of tokens."""

    hidden: float = 0.0
    tokens: float = 0.0


class Network:
    """``values`` are the arrays that are trained, by name. ``hidden``: widths of hidden layers.
    ``tuned``: the student whose table (with ``table``) and token weights are trained."""

    def __init__(
        self,
        problem: Problem,
        hidden: Sequence[int],
        tuned: StudentTable | None,
        *,
        table: bool,
        seed: int,
    ) -> None:
        self._tuned = tuned
        self._depth = len(hidden) + 1
        self._fixed = None if tuned is None or table else tuned.rows
        self.values: dict[str, Float32] = {}
        rng = np.random.default_rng([seed, 0])
        widths = [problem.dimensions, *hidden, problem.labels]
        for at in range(self._depth):
            inputs, outputs = widths[at], widths[at + 1]
            last = at + 1 == self._depth
            # He et al. 2015 before a ReLU; a last layer of zeros begins with equal chances.
            bound = 0.0 if last and at == 0 else math.sqrt((3.0 if last else 6.0) / inputs)
            weights = rng.uniform(-bound, bound, (inputs, outputs))
            self.values[f"weight{at}"] = weights.astype(np.float32)
            self.values[f"bias{at}"] = np.zeros(outputs, np.float32)
        if problem.matrix is not None:
            self.values[ROWS] = np.zeros((problem.features, problem.labels), np.float32)
        if tuned is not None:
            self.values[TOKEN_WEIGHTS] = np.ones(len(tuned.rows), np.float32)
            if table:
                self.values[TABLE] = tuned.rows.copy()

    def head(self, problem: Problem) -> HeadArrays:
        layers = tuple(
            (self.values[f"weight{at}"], self.values[f"bias{at}"]) for at in range(self._depth)
        )
        rows = self.values.get(ROWS)
        return HeadArrays(layers, None if rows is None else problem.with_rows(rows, STEP_SCALE))

    def student_rows(self) -> Float32 | None:
        """The tuned student's rows, float32 (vocab, d); None where it is frozen."""
        if self._tuned is None:
            return None
        rows: Float32 = self._table() * self.values[TOKEN_WEIGHTS][:, None]
        return rows

    def slopes(
        self, problem: Problem, batch: NDArray[np.int64], rng: np.random.Generator, drop: Dropout
    ) -> tuple[float, Slopes]:
        """The summed loss of the texts ``batch``, and the derivatives of their mean loss."""
        pooled = None
        if self._tuned is None:
            vectors = problem.vectors[batch]
        else:
            assert problem.ids is not None
            assert problem.offsets is not None
            ids, offsets = take_tokens(problem.ids, problem.offsets, batch)
            pooled = self._pool(ids, offsets, rng, drop.tokens)
            vectors = pooled.vectors
        matrix: Sparse | None = None
        if problem.matrix is not None:
            matrix = problem.matrix[batch]
            matrix.data *= np.float32(STEP_SCALE)
            if self._tuned is not None and drop.tokens:
                matrix.data *= rng.random(matrix.nnz, dtype=np.float32) >= drop.tokens
        activations, masks = self._forward(vectors, rng, drop.hidden)
        scores = activations[-1]
        found: Slopes = {}
        columns = None
        if matrix is not None:
            columns, places = np.unique(matrix.indices, return_inverse=True)
            matrix = _with_columns(matrix, places, len(columns))
            scores = scores + matrix @ self.values[ROWS][columns]
        loss, errors = problem.loss.gradient(scores, problem.targets[batch])
        errors *= np.float32(1.0 / len(batch))
        if matrix is not None:
            found[ROWS] = (columns, matrix.T @ errors)
        for at in reversed(range(self._depth)):
            found[f"weight{at}"] = (None, activations[at].T @ errors)
            found[f"bias{at}"] = (None, errors.sum(axis=0))
            if at or pooled is not None:
                errors = errors @ self.values[f"weight{at}"].T
            if at:
                errors *= masks[at - 1]
        if pooled is not None:
            found |= self._pool_slopes(pooled, errors)
        return loss, found

    def _forward(
        self, vectors: Float32, rng: np.random.Generator, dropout: float
    ) -> tuple[list[Float32], list[Float32]]:
        """What each layer reads, then the scores; and what each hidden unit's slope is."""
        activations, masks = [vectors], []
        for at in range(self._depth):
            out = activations[-1] @ self.values[f"weight{at}"]
            out += self.values[f"bias{at}"]
            if at + 1 < self._depth:
                mask = (out > 0.0).astype(np.float32)
                if dropout:
                    mask *= rng.random(out.shape, dtype=np.float32) >= dropout
                    mask *= np.float32(1.0 / (1.0 - dropout))
                out *= mask
                masks.append(mask)
            activations.append(out)
        return activations, masks

    def _table(self) -> Float32:
        table = self.values.get(TABLE) if self._fixed is None else self._fixed
        assert table is not None
        return table

    def _pool(
        self, ids: Ids, offsets: Offsets, rng: np.random.Generator, dropout: float
    ) -> _Pooled:
        from scipy import sparse

        assert self._tuned is not None
        counted = np.ones(len(ids), np.float32)
        if self._tuned.unknown is not None:
            counted[ids == self._tuned.unknown] = 0.0
        if dropout:
            counted *= rng.random(len(ids), dtype=np.float32) >= dropout
        rows, places = np.unique(ids, return_inverse=True)
        shape = (len(offsets) - 1, len(rows))
        bags = sparse.csr_matrix((counted, places.astype(np.int32), offsets), shape=shape)
        plain = self._table()[rows]
        sums = bags @ (plain * self.values[TOKEN_WEIGHTS][rows, None])
        if self._tuned.normalize:
            sizes = np.sqrt(np.vecdot(sums, sums))
        else:
            sizes = np.asarray(bags.sum(axis=1), dtype=np.float32).ravel()
        sizes = np.where(sizes > 0.0, sizes, np.float32(1.0)).astype(np.float32)
        return _Pooled(rows.astype(np.int64), bags, plain, sums / sizes[:, None], sizes)

    def _pool_slopes(self, pooled: _Pooled, errors: Float32) -> Slopes:
        assert self._tuned is not None
        if self._tuned.normalize:
            errors = errors - pooled.vectors * np.vecdot(errors, pooled.vectors)[:, None]
        errors = errors / pooled.sizes[:, None]
        by_rows = pooled.bags.T @ errors
        found: Slopes = {
            TOKEN_WEIGHTS: (pooled.rows, np.vecdot(by_rows, pooled.plain).astype(np.float32))
        }
        if TABLE in self.values:
            weights = self.values[TOKEN_WEIGHTS][pooled.rows, None]
            found[TABLE] = (pooled.rows, by_rows * weights)
        return found


@dataclass(frozen=True)
class _Pooled:
    """``bags`` (n, u) of the ``rows`` (u,) that n texts have, ``plain`` (u, d) without token
    weights; ``vectors`` (n, d) were divided by ``sizes``."""

    rows: NDArray[np.int64]
    bags: Sparse
    plain: Float32
    vectors: Float32
    sizes: Float32


def _with_columns(matrix: Sparse, places: NDArray[Any], width: int) -> Sparse:
    from scipy import sparse

    parts = (matrix.data, places.astype(np.int32), matrix.indptr)
    return sparse.csr_matrix(parts, shape=(matrix.shape[0], width))
