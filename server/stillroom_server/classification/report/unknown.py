"""Labels that the data have and the classifier does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from stillroom_server.classification.report.arrays import Int64

Extra = Mapping[int, Sequence[str]]


def unknown_labels(given: Iterable[Sequence[str]], labels: Iterable[str]) -> dict[int, list[str]]:
    """By row, the labels of ``given`` (those of each text) that are not among ``labels``; rows
    without such labels are absent. What ``measure`` takes as ``extra_labels``."""
    known = frozenset(labels)
    return {
        row: found
        for row, names in enumerate(given)
        if (found := [name for name in names if name not in known])
    }


def spread(extra: Extra, known: int) -> tuple[tuple[str, ...], tuple[Int64, Int64]]:
    """The names, sorted, and pairs of a row, ascending, and the index of a label, the first being
    ``known``: two int64 (p,)."""
    names = tuple(sorted({name for found in extra.values() for name in found}))
    places = {name: known + index for index, name in enumerate(names)}
    pairs = [(row, places[name]) for row in sorted(extra) for name in dict.fromkeys(extra[row])]
    rows, indices = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return names, (rows, indices)
