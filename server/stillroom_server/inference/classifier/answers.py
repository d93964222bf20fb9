"""Scores to answers: the labels of each text, in columns, by numpy on the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.classifier.head import confidences, probabilities
from stillroom_server.inference.classifier.plans import ClassifyPlan
from stillroom_server.inference.engines.base import Float32
from stillroom_server.inference.results import Warnings

Int32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)


class Answers(NamedTuple):
    """Text i has the next label_counts[i] entries of label_indices and probabilities.

    label_counts int32 (n,); label_indices int32 (m,), into the classifier's labels, and
    probabilities float32 (m,), of each text most probable first; applies bool (m,), None where all
    apply; confidences float32 (n,); abstained bool (n,), None where it abstained from none.
    """

    label_counts: Int32
    label_indices: Int32
    probabilities: Float32
    applies: Bools | None
    confidences: Float32
    abstained: Bools | None


def answer(
    scores: Float32, warnings: Warnings, how: ClassifyPlan, parts: Sequence[slice] = ()
) -> Answers:
    """The answers about texts of calibrated scores (n, K); those with a warning are abstained
    from. ``parts`` of the texts, one after the other, get what each would get alone."""
    if _only_best(how):
        counts, indices, values, sure = _best(scores, parts)
        applies = None
    else:
        found = probabilities(scores, 1.0, how.task)
        sure = confidences(found, how.task, how.thresholds)
        counts, indices, values, applies = _ranked(found, how)
    abstained = sure < np.float32(how.abstention_threshold)
    if warnings.tobytes().strip(b"\0"):  # a fifth of the cost of a reduction
        abstained |= warnings.astype(np.bool_)
    some = 1 in abstained.tobytes()
    return Answers(counts, indices, values, applies, sure, abstained if some else None)


def answer_each(
    scores: Float32, warnings: Warnings, how: ClassifyPlan, parts: Sequence[slice]
) -> list[Answers]:
    """``answer`` of each part, to the bit; sooner than one by one where each text has one label."""
    if len(parts) == 1 or not _only_best(how):
        return [answer(scores[part], warnings[part], how) for part in parts]
    counts, indices, values, _, sure, abstained = answer(scores, warnings, how, parts)
    return [
        Answers(
            counts[part],
            indices[part],
            values[part],
            None,
            sure[part],
            abstained[part] if abstained is not None and abstained[part].any() else None,
        )
        for part in parts
    ]


def _only_best(how: ClassifyPlan) -> bool:
    return how.thresholds is None and how.top_k <= 1


def only_named(indices: Int32, labels: Sequence[str]) -> tuple[Int32, list[str]]:
    """Indices into a list of only the labels that they name, in order, and that list."""
    used, inverse = np.unique(indices, return_inverse=True)
    return inverse.astype(np.int32), [labels[i] for i in used.tolist()]


def _best(scores: Float32, parts: Sequence[slice]) -> tuple[Int32, Int32, Float32, Float32]:
    """The best label of each text: softmax needs no division of all the others."""
    texts, labels = scores.shape
    indices = scores.argmax(axis=1)
    tops = scores.reshape(-1).take(indices + _first_of_each(texts, labels))
    scaled = scores - tops[:, None]
    np.exp(scaled, out=scaled)
    ones = _ones(labels)
    # A third of the time of sum(axis=1); but the last bit of a product may depend on its size.
    sums = [scaled[part].dot(ones) for part in parts or (slice(None),)]
    values: Float32 = np.concatenate(sums) if len(sums) > 1 else sums[0]
    np.reciprocal(values, out=values)
    return _one_each(texts), indices.astype(np.int32), values, values


@lru_cache(64)
def _first_of_each(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Where each of so many rows begins in the flat array. Only to read, as all constants here."""
    return _constant(np.arange(0, rows * columns, columns))


@lru_cache(64)
def _ones(count: int) -> Float32:
    return _constant(np.ones(count, np.float32))


@lru_cache(64)
def _one_each(texts: int) -> Int32:
    return _constant(np.ones(texts, np.int32))


def _constant(array: npt.NDArray[T]) -> npt.NDArray[T]:
    array.setflags(write=False)
    return array


def _ranked(found: Float32, how: ClassifyPlan) -> tuple[Int32, Int32, Float32, Bools | None]:
    texts, labels = found.shape
    if not how.top_k:
        counts, indices, values = _applying(found, how)
        return counts, indices, values, None
    k = how.top_k
    if k < labels:
        places = np.argpartition(-found, k - 1, axis=1)[:, :k]
        places.sort(axis=1)  # equals by label
    else:
        places = np.broadcast_to(np.arange(labels), found.shape)
    values = np.take_along_axis(found, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    indices = np.take_along_axis(places, order, axis=1).astype(np.int32)
    values = np.take_along_axis(values, order, axis=1)
    applies: Bools | None = None
    if how.thresholds is not None:
        bounds = how.thresholds if how.thresholds.ndim == 0 else how.thresholds[indices]
        applies = (values >= bounds).reshape(-1)
    return np.full(texts, k, np.int32), indices.reshape(-1), values.reshape(-1), applies


def _applying(found: Float32, how: ClassifyPlan) -> tuple[Int32, Int32, Float32]:
    assert how.thresholds is not None
    applies = found >= how.thresholds
    texts, indices = np.nonzero(applies)
    values = found[texts, indices]
    order = np.lexsort((-values, texts))  # stable: equals by label
    counts = np.count_nonzero(applies, axis=1)
    return counts.astype(np.int32), indices[order].astype(np.int32), values[order]
