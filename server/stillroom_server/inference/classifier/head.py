"""From vectors and runs of tokens to scores, and from scores to probabilities.

    scores = layers(vector) + sum(rows of the text's counted runs) / sqrt(their number)

The layers have ReLU between them. Everything here is numpy on whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.classifier.ngrams import NgramArrays, Ngrams
from stillroom_server.inference.classifier.run_counts import RunCounts, choose_runs, count_runs
from stillroom_server.inference.engines.base import Float32, Ids, Offsets
from stillroom_server.inference.engines.gather import csr_matvecs
from stillroom_server.inference.tokenizers.base import offsets_of_one

__all__ = [
    "Head",
    "HeadArrays",
    "NgramArrays",
    "Ngrams",
    "RunCounts",
    "Task",
    "choose_runs",
    "confidences",
    "count_runs",
    "is_multi_label",
    "probabilities",
]


class Task(StrEnum):
    """What a text's labels are; the values are those of the JSON of requests."""

    SINGLE_LABEL = "CLASSIFICATION_TASK_SINGLE_LABEL"  # exactly one: probabilities add up to 1
    MULTI_LABEL = "CLASSIFICATION_TASK_MULTI_LABEL"  # each applies or not, by itself


def is_multi_label(task: str) -> bool:
    """Whether a task, by its name with or without the prefix of the JSON's, is MULTI_LABEL."""
    return task.upper().endswith("MULTI_LABEL")


@dataclass(frozen=True)
class HeadArrays:
    """What a head learned: layers, each (weights float32 (in, out), bias float32 (out,)), from the
    vector's side, and n-gram features if it has any."""

    layers: tuple[tuple[Float32, Float32], ...]
    ngrams: NgramArrays | None = None

    @property
    def dimensions(self) -> int:
        """Elements of the vector that it reads."""
        return int(self.layers[0][0].shape[0])

    @property
    def outputs(self) -> int:
        """The number of labels."""
        return int(self.layers[-1][1].shape[0])


class Head:
    """Computes scores, divided by ``temperature``. Safe under any threads.

    ``score_one`` does so for one text in a fraction of the calls, where the head is linear and has
    n-gram features; None where it cannot.
    """

    def __init__(self, arrays: HeadArrays, temperature: float = 1.0) -> None:
        scale = np.float32(1 / temperature)
        last = len(arrays.layers) - 1
        self._layers = [
            (
                np.ascontiguousarray(w * scale if i == last else w, np.float32),
                np.ascontiguousarray(b * scale if i == last else b, np.float32),
            )
            for i, (w, b) in enumerate(arrays.layers)
        ]
        self._ngrams: Ngrams | None = None
        self.score_one: OneScore | None = None
        self.dimensions = arrays.dimensions
        self.outputs = arrays.outputs
        self.nbytes = sum(w.nbytes + b.nbytes for w, b in self._layers)
        if arrays.ngrams is not None:
            self._ngrams = Ngrams(replace(arrays.ngrams, rows=arrays.ngrams.rows * scale))
            self.nbytes += self._ngrams.nbytes
            multiply = csr_matvecs()
            if not last and multiply is not None:
                self.score_one = OneScore(*self._layers[0], self._ngrams, multiply)

    @property
    def reads_tokens(self) -> bool:
        return self._ngrams is not None

    def logits(
        self,
        vectors: Float32,
        ids: Ids | None = None,
        offsets: Offsets | None = None,
        parts: Sequence[slice] = (),
        factors: Float32 | None = None,
    ) -> Float32:
        """Scores float32 (n, K) of vectors (n, d), each first multiplied by its one of ``factors``
        (n,), if any; the caller's own.

        ids (total,) and offsets (n + 1,) are the texts' tokens as they were cut; only a head with
        n-gram features reads them. ``parts``, one after the other, get what each would get alone:
        the last bit of a product may depend on its size.
        """
        out = vectors
        last = len(self._layers) - 1
        for i, (weights, bias) in enumerate(self._layers):
            out = _product(out, weights, parts)
            if not i and factors is not None:
                out *= factors[:, None]
            out += bias
            if i < last:
                np.maximum(out, 0, out=out)
        if self._ngrams is not None:
            if ids is None or offsets is None:
                raise ValueError("this head reads tokens too")
            self._ngrams.add_sums(ids, offsets, out)
        return out


def _product(vectors: Float32, weights: Float32, parts: Sequence[slice]) -> Float32:
    if len(parts) < 2:
        return vectors @ weights
    out = np.empty((len(vectors), weights.shape[1]), np.float32)
    for part in parts:
        np.matmul(vectors[part], weights, out=out[part])
    return out


class OneScore:
    """The scores of one text by a linear head with n-gram features, in a few array operations.

    The vector is multiplied by the routine that adds runs: see ``numerics.normalize_one`` on BLAS.
    """

    def __init__(
        self, weights: Float32, bias: Float32, ngrams: Ngrams, multiply: Callable[..., None]
    ) -> None:
        self._weights = weights.reshape(-1)
        self._size = weights.shape
        self._columns = np.arange(len(weights), dtype=np.int32)
        self._end = np.array((0, len(weights)), np.int32)
        self._bias = bias
        self._add_sums = ngrams.add_sums
        self._multiply = multiply

    def __call__(self, vector: Float32, ids: Ids) -> Float32:
        """Scores float32 (K,) of a vector (d,) and the tokens of its text."""
        out = self._bias.copy()
        self._multiply(1, *self._size, self._end, self._columns, vector, self._weights, out)
        self._add_sums(ids, offsets_of_one(len(ids)), out[None])
        return out


def probabilities(logits: Float32, temperature: float, task: str) -> Float32:
    """Probabilities of scores (n, K), in their type, which may be float64, too: softmax or,
    multi-label, the logistic function of each score divided by ``temperature``."""
    scaled: Float32 = logits * (1 / float(temperature))
    if not is_multi_label(task):
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
        return scaled
    small = np.exp(-np.abs(scaled))  # never overflows
    found: Float32 = np.where(scaled >= 0, scaled.dtype.type(1), small)
    found /= 1 + small
    return found


def confidences(
    values: Float32, task: str, thresholds: Sequence[float] | npt.NDArray[Any] | None = None
) -> Float32:
    """How sure the answers about n texts of probabilities (n, K) are: (n,), in their type.

    Single-label: the best label's probability. Multi-label: the probability that every label is
    right about being there or not, as if they were independent; ``thresholds`` (K,) or one for all
    say which are there.
    """
    if not is_multi_label(task):
        best: Float32 = values.max(axis=1)
        return best
    applies = values >= np.asarray(0.5 if thresholds is None else thresholds, values.dtype)
    right = np.where(applies, values, 1 - values)
    sure: Float32 = right.prod(axis=1, dtype=np.float64).astype(values.dtype)
    return sure
