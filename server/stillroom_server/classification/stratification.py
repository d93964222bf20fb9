"""Dealing examples out to parts, so that each label keeps its share in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


def deal(targets: Int64, share: float | None, parts: int, rng: np.random.Generator) -> Int64:
    """The part, int64 (n,), of each example with one label; -1 is in no part.

    With ``share``, part 0 gets that share of each label's examples, rounded down or up, so that it
    is of all the closest that there is. Without, ``parts`` parts get equal shares; neither those of
    a label nor their sizes differ by more than one. A label's only example is in no part, and no
    part has all examples of a label.
    """
    given = np.full(len(targets), -1, dtype=np.int64)
    counts = np.bincount(targets)
    shuffled = rng.permutation(len(targets))
    order = shuffled[np.argsort(targets[shuffled], kind="stable")]  # by label, shuffled within
    order = order[counts[targets[order]] > 1]
    if share is None:
        given[order] = np.arange(len(order)) % parts
        return given
    counts = np.where(counts > 1, counts, 0)
    taken = _shares(counts, share, rng)
    starts = np.cumsum(counts) - counts
    place = np.arange(len(order)) - starts[targets[order]]
    given[order[place < taken[targets[order]]]] = 0
    return given


def _shares(counts: Int64, share: float, rng: np.random.Generator) -> Int64:
    """int64 (K,): how many of each label's examples are taken, by largest remainders; one at least
    in all, and never all of a label's."""
    wanted = counts * share
    taken: Int64 = np.floor(wanted).astype(np.int64)
    missing = max(round(float(wanted.sum())), int(counts.any())) - int(taken.sum())
    room = np.flatnonzero(taken + 1 < counts)
    room = room[rng.permutation(len(room))]
    largest = room[np.argsort(-(wanted - taken)[room], kind="stable")]
    taken[largest[:missing]] += 1
    return taken


def iterative(
    targets: Bools, shares: Sequence[float], rng: np.random.Generator, *, keep_last: bool
) -> Int64:
    """The part, int64 (n,), of each example with any number of labels (bool (n, K)); -1 is in no
    part. ``shares`` of the parts add up to 1; the last one is training itself with ``keep_last``.

    An example that has a label alone is in no part, and one of each label whose examples would all
    be in one part, training aside, is taken out of it.
    """
    counts = targets.sum(axis=0)
    free = ~targets[:, counts == 1].any(axis=1)
    given = np.full(len(targets), -1, dtype=np.int64)
    rows = rng.permutation(np.flatnonzero(free))
    if not len(rows):
        return given
    _Dealing(targets, given, rows, shares, rng).run()
    if keep_last and not (given[rows] < len(shares) - 1).any():
        given[rows[0]] = 0  # one at least
    _take_out(targets, given, len(shares) - keep_last)
    return given


class _Dealing:
    """Sechidis et al. 2011, Algorithm 1."""

    def __init__(
        self,
        targets: Bools,
        given: Int64,
        rows: Int64,
        shares: Sequence[float],
        rng: np.random.Generator,
    ) -> None:
        self._given = given
        self._rows = rows
        labeled = targets[rows]
        self._left = np.count_nonzero(labeled, axis=0)  # (K,) examples not dealt out yet
        at, label = np.nonzero(labeled)
        ends = np.cumsum(np.count_nonzero(labeled, axis=1))
        self._labels = np.split(label, ends[:-1])  # of each example
        by_label = np.argsort(label, kind="stable")
        self._members = np.split(at[by_label], np.cumsum(self._left)[:-1])  # of each label
        # Lists, as each step touches few of their numbers.
        self._wanted = [len(rows) * share for share in shares]  # of each part
        self._wanted_of = [[count * share for share in shares] for count in self._left.tolist()]
        self._part: list[int] = [-1] * len(rows)
        self._ties: list[float] = rng.random(len(rows)).tolist()

    def run(self) -> None:
        while self._left.any():
            label = int(np.where(self._left > 0, self._left, np.iinfo(np.int64).max).argmin())
            for example in self._members[label].tolist():
                if self._part[example] < 0:
                    self._give(example, self._wanted_of[label])
        for example in range(len(self._rows)):  # those without labels
            if self._part[example] < 0:
                self._give(example, self._wanted)
        self._given[self._rows] = self._part

    def _give(self, example: int, lacks: list[float]) -> None:
        most = max(lacks)
        best = [part for part, lack in enumerate(lacks) if lack == most]
        if len(best) > 1:
            most = max(self._wanted[part] for part in best)
            best = [part for part in best if self._wanted[part] == most]
        part = best[int(self._ties[example] * len(best))]
        self._part[example] = part
        labels = self._labels[example]
        self._left[labels] -= 1
        for label in labels.tolist():
            self._wanted_of[label][part] -= 1
        self._wanted[part] -= 1


def _take_out(targets: Bools, given: Int64, parts: int) -> None:
    """Gives training an example of each label that is in one of the first ``parts`` parts alone.
    It only ever takes out, so no label that was taken care of is in need again."""
    counts = targets.sum(axis=0)
    for part in range(parts):
        inside = targets[given == part].sum(axis=0)
        for label in np.flatnonzero((inside == counts) & (counts > 0)):
            own = np.flatnonzero(targets[:, label])
            if (given[own] == part).all():
                given[own[0]] = -1
