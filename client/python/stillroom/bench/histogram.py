"""How long things took, in memory that does not grow with how many there were."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

# Nearest-rank quantiles that a Summary has.
_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_ERROR = 0.005
_LOWEST, _HIGHEST = 1e-7, 1e5  # seconds: a tenth of a microsecond, a day


@dataclass(frozen=True)
class Summary:
    """Seconds: exact mean and maximum, quantiles within 0.5 %."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    def plain(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


class Histogram:
    """Counts of seconds in buckets whose bounds grow by a constant factor, so that the relative
    error of a quantile is bounded: DDSketch (Masson, Rim and Lee, 2019, arXiv:1908.10693), with a
    fixed range instead of collapsing buckets.

    Values outside 0.1 us to 28 h count in the outermost bucket; minimum and maximum are exact.
    """

    def __init__(self) -> None:
        gamma = (1 + _ERROR) / (1 - _ERROR)
        self._scale = 1 / math.log(gamma)
        self._center = 2 / (gamma + 1)  # of a bucket, relative to its upper bound
        self._first = self._bucket(_LOWEST)
        self._counts = [0] * (self._bucket(_HIGHEST) - self._first + 1)
        self.count = 0
        self._sum = 0.0
        self._min = math.inf
        self._max = 0.0

    def record(self, seconds: float) -> None:
        """Counts one duration; below zero, as a clock that was set may give, it is zero."""
        if seconds < 0.0:
            seconds = 0.0
        within = _LOWEST if seconds < _LOWEST else _HIGHEST if seconds > _HIGHEST else seconds
        self._counts[self._bucket(within) - self._first] += 1
        self.count += 1
        self._sum += seconds
        if seconds < self._min:
            self._min = seconds
        if seconds > self._max:
            self._max = seconds

    def _bucket(self, seconds: float) -> int:
        return math.ceil(math.log(seconds) * self._scale)

    def quantile(self, q: float) -> float:
        """The duration of rank ``ceil(q * count)``, within 0.5 %; 0 when nothing was recorded."""
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for place, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                upper = math.exp((place + self._first) / self._scale)
                return min(max(upper * self._center, self._min), self._max)
        return 0.0

    def summary(self) -> Summary | None:
        """None when nothing was recorded."""
        if not self.count:
            return None
        p50, p90, p99, p99_9 = map(self.quantile, _QUANTILES)
        return Summary(self.count, self._sum / self.count, p50, p90, p99, p99_9, self._max)
