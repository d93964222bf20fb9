"""Area under precision over recall, label by label, without interpolation.

The sum over thresholds of (recall gained) * precision is the mean, over the texts that have the
label, of the precision at their own probability: only those need to be looked up among all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stillroom_server.classification.report.arrays import (
    Between,
    Bools,
    Floats,
    Int64,
    pieces,
)


def average_precisions(
    probabilities: Floats, rows_of: Callable[[int], Int64], between: Between
) -> list[float | None]:
    """Of each of K labels from probabilities (n, K); None where no text or every text has it.

    ``rows_of`` gives the rows of the texts that have a label, ascending.
    """
    rows, columns = probabilities.shape
    found: list[float | None] = []
    for piece in pieces(columns, rows):  # columns, for once
        between()
        block = np.ascontiguousarray(probabilities[:, piece].T)
        found += [
            _average_precision(column, rows_of(piece.start + index))
            for index, column in enumerate(block)
        ]
    return found


def _average_precision(column: Floats, having: Int64) -> float | None:
    """``column`` (n,): the probabilities of a label; ``having`` (m,): the rows that have it."""
    if not 0 < len(having) < len(column):
        return None
    own = np.sort(column[having])
    every = np.sort(column)
    # So many of those that have it, and of all, lie at or above each one's probability.
    right = len(own) - np.searchsorted(own, own, side="left")
    given = len(every) - np.searchsorted(every, own, side="left")
    return float(np.mean(right / given))


def rows_by_label(true: Int64, labels: int) -> Callable[[int], Int64]:
    """For single-label: ``true`` int64 (n,), indices of labels."""
    order = np.argsort(true, kind="stable")
    starts = np.searchsorted(true[order], np.arange(labels + 1))
    return lambda label: order[starts[label] : starts[label + 1]]


def rows_by_column(targets: Bools) -> Callable[[int], Int64]:
    """For multi-label: ``targets`` bool (n, K)."""
    return lambda label: np.flatnonzero(targets[:, label])
