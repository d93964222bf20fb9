"""Which label was taken for which: the matrix of single-label classifiers, and the most frequent
mistakes of both kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stillroom_server.classification.report.arrays import Between, Bools, Floats, Int64, pieces

MOST_CELLS = 100_000
_MOST_COUNTS = 1 << 24  # of a block of pairs in memory: 64 MiB
Pair = tuple[int, int, int]  # index of the true label, of the given one, texts


def cells(true: Int64, given: Int64, labels: int) -> tuple[Int64, Int64]:
    """Codes ``true * labels + given`` that occur, ascending, and how often; both (c,)."""
    return np.unique(true * labels + given, return_counts=True)


def matrix(codes: Int64, counts: Int64, labels: Sequence[str]) -> dict[str, Any]:
    """A ConfusionMatrix of what ``cells`` gives; of more than 100,000 cells the largest, and of
    equal ones the first."""
    order = np.sort(np.argsort(-counts, kind="stable")[:MOST_CELLS])
    true, given = np.divmod(codes[order], len(labels))
    return {
        "labels": list(labels),
        "cells": [
            {"true_index": t, "given_index": g, "count": c}
            for t, g, c in zip(true.tolist(), given.tolist(), counts[order].tolist(), strict=True)
        ],
        "omitted_count": int(counts.sum() - counts[order].sum()),
    }


def single_label_pairs(codes: Int64, counts: Int64, labels: int, limit: int) -> list[Pair]:
    """The ``limit`` most frequent mistakes of what ``cells`` gives, most often first; of equal ones
    the first labels."""
    wrong = codes // labels != codes % labels
    return _most(codes[wrong], counts[wrong], labels, limit)


def multi_label_pairs(
    probabilities: Floats,
    thresholds: Floats,
    targets: Bools,
    extra: tuple[Int64, Int64],
    labels: int,
    limit: int,
    between: Between,
) -> list[Pair]:
    """The ``limit`` most frequent pairs of a label that a text has and was not given, and one that
    it was given and has not.

    ``probabilities`` and ``targets`` (n, K), ``thresholds`` (K,); ``extra`` are rows, ascending,
    and labels (from K) of what texts have and the classifier does not know; ``labels`` counts
    those, too.
    """
    from scipy.sparse import csr_array

    columns = probabilities.shape[1]
    found: list[Pair] = []
    width = max(1, _MOST_COUNTS // columns)
    for low in range(0, labels if limit else 0, width):
        high = min(labels, low + width)
        counts = np.zeros((high - low, columns), dtype=np.int32)
        for piece in pieces(*probabilities.shape):
            between()
            given = probabilities[piece] >= thresholds
            missed, row = np.nonzero((targets[piece, low:high] & ~given[:, low:high]).T)
            first, last = np.searchsorted(extra[0], (piece.start, piece.stop))
            unknown = extra[1][first:last]
            here = (unknown >= low) & (unknown < high)
            missed = np.concatenate((missed, unknown[here] - low))
            row = np.concatenate((row, extra[0][first:last][here] - piece.start))
            rows, place = np.unique(row, return_inverse=True)
            if not len(rows):
                continue
            wrong = (given[rows] & ~targets[piece][rows]).astype(np.int32)
            ones = np.ones(len(row), dtype=np.int32)
            counts += csr_array((ones, (missed, place)), (high - low, len(rows))) @ wrong
        codes = np.flatnonzero(counts)
        found += _most(codes + low * columns, counts.ravel()[codes], columns, limit)
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))[:limit]


def _most(codes: Int64, counts: Int64, labels: int, limit: int) -> list[Pair]:
    """``codes`` ascending."""
    order = np.argsort(-counts, kind="stable")[:limit]
    true, given = np.divmod(codes[order], labels)
    return list(zip(true.tolist(), given.tolist(), counts[order].tolist(), strict=True))
