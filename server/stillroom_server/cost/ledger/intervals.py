"""How far estimates may be off, learnt from how far they were off. Pure: scores are handed in.

Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018, arXiv:1604.04173) of the
score log(actual / p50), by kind of work and figure. Of n earlier jobs the bounds are the order
statistics floor((n + 1) / 10) and ceil(9 (n + 1) / 10). If the next job is like those before, in
whatever distribution, it falls below the first, or above the second, at most one time in ten.

Scores are kept against the estimate before this correction ("raw"). Against the corrected one,
estimates that were right thanks to the correction would take it back.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillroom_server.cost.figures import Figure

NEEDED_JOBS = 10
"""With fewer than nine there is no order statistic that far out."""

LATEST_JOBS = 200
"""Older ones were of other machines, releases and loads."""

_PRIORS: Mapping[str, tuple[float, float]] = {
    "cpu_seconds": (0.75, 1.35),
    "wall_seconds": (0.7, 1.6),
    "peak_memory_bytes": (0.92, 1.12),
    "disk_bytes": (0.9, 1.2),
    "network_bytes": (1.0, 1.0),
}
CORRECTED = tuple(_PRIORS)
"""The figures that are measured afterwards, so that there is something to learn."""


@dataclass(frozen=True)
class Scores:
    """log(actual / raw p50) of the latest jobs, in any order; ``jobs`` counts all there are."""

    latest: Sequence[float]
    jobs: int


class Intervals:
    """Interval and median of a figure, moved by the errors of earlier ones. ``read`` answers the
    scores of a kind and figure as they are now."""

    def __init__(
        self, read: Callable[[str, str], Scores], *, needed_jobs: int = NEEDED_JOBS
    ) -> None:
        if needed_jobs < 9:
            raise ValueError(f"{needed_jobs} jobs cannot bound a tenth; use 9 or more")
        self._read = read
        self._needed_jobs = needed_jobs

    def apply(self, kind: str, figure_name: str, figure: Figure) -> Figure:
        """The figure of a whole workload of ``kind`` with the percentiles to be told.

        With enough jobs they are the ledger's. With fewer, the wider of its own and the prior ones,
        their middle moved by the median error in proportion to the number of jobs. Unknown figures,
        zeros and figures that are never measured stay as they are.
        """
        if not figure.known or figure_name not in _PRIORS:
            return figure
        low, middle, high = figure.numbers()
        if middle == 0:
            return figure
        scores = sorted(self._read(kind, figure_name).latest)
        shift = math.exp(self._shift(scores))
        if len(scores) < self._needed_jobs:
            prior_low, prior_high = _PRIORS[figure_name]
            low, high = min(low, middle * prior_low), max(high, middle * prior_high)
            return Figure(low * shift, middle * shift, high * shift, figure.basis, figure.note)
        below, above = _bounds(scores)
        return Figure(
            middle * math.exp(below),
            middle * shift,
            middle * math.exp(above),
            figure.basis,
            figure.note,
        )

    def undo(self, kind: str, figure_name: str, p50: float) -> float:
        """The median that ``apply`` was given when it answered ``p50``; only for what it answered.

        It asks the ledger of now: a job that ended between the two moves it by a small part of its
        own error.
        """
        if figure_name not in _PRIORS:
            return p50
        scores = sorted(self._read(kind, figure_name).latest)
        return p50 / math.exp(self._shift(scores))

    def basis(self, kind: str, figure_name: str = "wall_seconds") -> dict[str, Any]:
        """As the protocol's IntervalBasis."""
        scores = self._read(kind, figure_name)
        return {
            "from_ledger": len(scores.latest) >= self._needed_jobs,
            "ledger_jobs": scores.jobs,
            "needed_jobs": self._needed_jobs,
        }

    def _shift(self, ordered: Sequence[float]) -> float:
        weight = min(1.0, len(ordered) / self._needed_jobs)
        return weight * statistics.median(ordered) if ordered else 0.0


def _bounds(ordered: Sequence[float]) -> tuple[float, float]:
    """Needs nine numbers or more, ascending."""
    count = len(ordered)
    below = (count + 1) // 10
    above = -(-9 * (count + 1) // 10)
    return ordered[below - 1], ordered[above - 1]
