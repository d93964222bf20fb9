"""Rates: what a code path takes, as a line through its own batch sizes.

Names, and what a unit of each is, stand in ``UNITS``. All are seconds of processor cores, those of
every thread together, but ``write``, which waits for a disk and is in seconds on the clock.

- ``python``: the interpreter and small arrays; a unit is a thousand turns of a fixed loop.
- ``matmul``: products of float32 matrices by numpy, as the runner's numeric libraries are set.
- ``memory``: bytes read or written by a copy that no cache holds.
- ``hash``: SHA-256. ``write``: a file written and synced, in the data directory.
- ``process.start``: a Python process, from its start to its first line.
- ``torch.import``: what the first teacher of a process imports.
- ``teacher.load``: the weights read into a teacher, imports apart, bytes of weights.
- ``teacher.tokenize``: tokens, special ones included.
- ``teacher.forward``: tokens through the layers, without what grows with the square of the length,
  which is ``teacher.attention``: for each token the tokens of its text.
- ``teacher.vocabulary``: single tokens between the special ones, as recipes of students send them.
- ``pca``: rows of the teacher's width to principal axes and onto 256 of them.
- ``student.load``: bytes of weights. ``student.tokenize``, ``student.embed`` (which includes it):
  tokens, in calls of up to 256 texts; the intercept is a call's.
- ``classifier.classify``: as ``student.embed``, labels and scores included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from stillroom_server.cost.figures import Basis

UNITS: Mapping[str, str] = {
    "python": "thousand loops",
    "matmul": "GFLOP",
    "memory": "bytes",
    "hash": "bytes",
    "write": "bytes",
    "process.start": "runs",
    "torch.import": "runs",
    "teacher.load": "bytes",
    "teacher.tokenize": "tokens",
    "teacher.forward": "tokens",
    "teacher.attention": "token pairs",
    "teacher.vocabulary": "rows",
    "pca": "rows",
    "student.load": "bytes",
    "student.tokenize": "tokens",
    "student.embed": "tokens",
    "classifier.classify": "tokens",
}
HOST = ("python", "matmul", "memory", "hash", "write", "process.start")
TEACHER = (
    *("torch.import", "teacher.load", "teacher.vocabulary", "teacher.forward"),
    *("teacher.attention", "teacher.tokenize", "pca"),
)
STUDENT = ("student.load", "student.tokenize", "student.embed")
CLASSIFIER = ("student.load", "classifier.classify")


@dataclass(frozen=True, slots=True)
class Line:
    """``intercept_seconds`` a call and ``slope_seconds`` a unit; measured between ``min_units`` and
    ``max_units`` of a call, beyond which it is a guess. Neither is negative."""

    name: str
    intercept_seconds: float
    slope_seconds: float
    unit: str
    min_units: float
    max_units: float
    basis: Basis = Basis.CALIBRATED

    def __post_init__(self) -> None:
        numbers = (self.intercept_seconds, self.slope_seconds, self.min_units, self.max_units)
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError(f"a line of finite numbers >= 0 is asked for, not {numbers}")

    def seconds(self, units: float, calls: float = 1.0) -> float:
        """Of ``units`` in so many calls."""
        return calls * self.intercept_seconds + units * self.slope_seconds

    def scaled(self, factor: float) -> Line:
        """So many times slower."""
        return replace(
            self,
            intercept_seconds=self.intercept_seconds * factor,
            slope_seconds=self.slope_seconds * factor,
        )

    def to_json(self) -> dict[str, Any]:
        """As the protocol's CalibratedRate in JSON."""
        said = asdict(self)
        del said["basis"]
        return said

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Line:
        """The inverse. Raises ValueError, TypeError or KeyError for what is no rate."""
        name = value["name"]
        return cls(
            name,
            float(value["intercept_seconds"]),
            float(value["slope_seconds"]),
            UNITS[name],
            float(value["min_units"]),
            float(value["max_units"]),
        )


def fit(name: str, points: Sequence[tuple[float, float]]) -> Line:
    """The line of least squared relative error through (units, seconds), two or more sizes; of one
    size, through 0 and it. Where the best line would begin below 0 or fall, the nearest that does
    not: a call takes no negative time.

    Relative, since the error of a time grows with it. Raises ValueError without points, or for
    numbers that are no sizes and times.
    """
    if not points or not all(
        math.isfinite(units) and math.isfinite(seconds) and units > 0 and seconds >= 0
        for units, seconds in points
    ):
        raise ValueError(f"{name}: no line through {list(points)}")
    sizes = [units for units, _ in points]
    intercept, slope = _weighted(points)
    if intercept < 0 or len(set(sizes)) == 1:
        intercept, slope = 0.0, _through_zero(points)
    elif slope < 0:
        intercept, slope = _level(points), 0.0
    return Line(name, intercept, slope, UNITS[name], min(sizes), max(sizes))


_LEAST = 1e-9  # seconds; what a clock cannot tell from none


def _weights(points: Sequence[tuple[float, float]]) -> list[float]:
    return [1.0 / max(seconds, _LEAST) ** 2 for _, seconds in points]


def _weighted(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    weights = _weights(points)
    total = sum(weights)
    middle = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    height = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    across = sum(w * (x - middle) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    if across <= 0:
        return height, 0.0
    both = sum(w * (x - middle) * (y - height) for w, (x, y) in zip(weights, points, strict=True))
    slope = both / across
    return height - slope * middle, slope


def _through_zero(points: Sequence[tuple[float, float]]) -> float:
    weights = _weights(points)
    squares = sum(w * x * x for w, (x, _) in zip(weights, points, strict=True))
    return sum(w * x * y for w, (x, y) in zip(weights, points, strict=True)) / squares


def _level(points: Sequence[tuple[float, float]]) -> float:
    weights = _weights(points)
    return sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / sum(weights)


@dataclass(frozen=True)
class RateSet:
    """Rates of one host, and of one model where ``fingerprint`` holds one.

    ``time``: when the oldest was measured, None without any; ``fresh``: whether some were for this
    very call.
    """

    lines: Mapping[str, Line]
    fingerprint: str = ""
    time: datetime | None = None
    fresh: bool = False

    def get(self, name: str) -> Line | None:
        """None: not measured."""
        return self.lines.get(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those that were not measured."""
        return [name for name in names if name not in self.lines]

    def info(self, now: datetime) -> dict[str, Any] | None:
        """As the protocol's CalibrationInfo in JSON; None where nothing was measured."""
        if self.time is None or not self.lines:
            return None
        return {
            "calibration_time": self.time.isoformat().replace("+00:00", "Z"),
            "age_seconds": max(0.0, (now - self.time).total_seconds()),
            "fingerprint": self.fingerprint,
            "fresh": self.fresh,
            "rates": [self.lines[name].to_json() for name in sorted(self.lines)],
        }


NONE = RateSet({})
"""Nothing was measured."""
