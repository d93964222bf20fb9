"""Numbers that say how sure they are and how they were come by.

A ``Figure`` has the JSON shape of the protocol's CostFigure, ``Resources`` that of ResourceFigures.
What is not known stays unknown through every operation here: it is never counted as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from stillroom_registry.errors import InvalidArgument

JSON = dict[str, Any]

_BETWEEN_NOTES = "; "


class TooLarge(InvalidArgument):
    """A product of the asked counts is no finite number. Who knows the counts adds the field."""

    default_reason = "TOO_LARGE"


class Basis(StrEnum):
    """How a figure was come by, strongest first; values as in the protocol's CostBasis."""

    MEASURED = "COST_BASIS_MEASURED"
    CALIBRATED = "COST_BASIS_CALIBRATED"
    SPEC = "COST_BASIS_SPEC"
    TABLE = "COST_BASIS_TABLE"
    UNKNOWN = "COST_BASIS_UNKNOWN"


_STRENGTH = {basis: rank for rank, basis in enumerate(Basis)}


def weakest(*bases: Basis) -> Basis:
    """That of a figure of several parts. Raises ValueError without any."""
    return max(bases, key=_STRENGTH.__getitem__)


@dataclass(frozen=True, slots=True)
class Figure:
    """0 <= p10 <= p50 <= p90, or all None exactly where the basis is UNKNOWN.

    Raises TooLarge for an infinity or NaN (a product that overflowed), ValueError for percentiles
    that are negative, out of order, or missing: those are mistakes of whoever computed them.
    """

    p10: float | None
    p50: float | None
    p90: float | None
    basis: Basis
    note: str = ""

    def __post_init__(self) -> None:
        values = (self.p10, self.p50, self.p90)
        if self.basis is Basis.UNKNOWN:
            if values != (None, None, None):
                raise ValueError(f"an unknown figure has no numbers, but {values} was given")
            return
        numbers = [_finite(value) for value in values if value is not None]
        if len(numbers) != 3:
            raise ValueError(f"a figure of basis {self.basis} has three numbers, not {values}")
        if not 0 <= numbers[0] <= numbers[1] <= numbers[2]:
            raise ValueError(f"percentiles must be >= 0 and in order, not {values}")
        for name, number in zip(("p10", "p50", "p90"), numbers, strict=True):
            object.__setattr__(self, name, number)

    @classmethod
    def exact(cls, value: float, basis: Basis, note: str = "") -> Figure:
        """Three equal numbers."""
        return cls(value, value, value, basis, note)

    @classmethod
    def unknown(cls, note: str = "") -> Figure:
        """No numbers; ``note`` says why."""
        return cls(None, None, None, Basis.UNKNOWN, note)

    @classmethod
    def around(cls, p50: float, low: float, high: float, basis: Basis, note: str = "") -> Figure:
        """``p50`` with p10 = ``low`` * p50 and p90 = ``high`` * p50; low <= 1 <= high."""
        if not 0 <= low <= 1 <= high:
            raise ValueError(f"factors must be 0 <= low <= 1 <= high, not {low} and {high}")
        return cls(_product(p50, low), p50, _product(p50, high), basis, note)

    @property
    def known(self) -> bool:
        return self.basis is not Basis.UNKNOWN

    def numbers(self) -> tuple[float, float, float]:
        """(p10, p50, p90). Raises ValueError where they are unknown: ask ``known`` before."""
        if self.p10 is None or self.p50 is None or self.p90 is None:
            raise ValueError(f"the figure is unknown ({self.note})")
        return self.p10, self.p50, self.p90

    def scaled(self, factor: float) -> Figure:
        """Times an exact number >= 0."""
        return self.mapped(lambda number: _product(number, factor))

    def mapped(self, function: Callable[[float], float]) -> Figure:
        """Each percentile through a function that never decreases."""
        if not self.known:
            return self
        low, middle, high = (function(number) for number in self.numbers())
        return Figure(low, middle, high, self.basis, self.note)

    def inverse(self, numerator: float = 1.0) -> Figure:
        """``numerator`` over it: a rate from seconds. Unknown where it may be 0."""
        if not self.known:
            return self
        low, middle, high = self.numbers()
        if low == 0:
            return Figure.unknown(self.note or "what it is divided by may be 0")
        return Figure(numerator / high, numerator / middle, numerator / low, self.basis, self.note)

    def plus(self, *others: Figure) -> Figure:
        """The sum, unknown where a part is.

        Medians are added; what parts deviate from theirs, down and up apart, is added as the root
        of the sum of squares, as for errors that are independent (JCGM 100:2008, 5.1.2). So a
        whole is surer than its parts, and still never decreases where a part grows.
        """
        parts = (self, *others)
        if missing := _missing(parts):
            return missing
        rows = [part.numbers() for part in parts]
        middle = sum(row[1] for row in rows)
        down = math.hypot(*(row[1] - row[0] for row in rows))
        up = math.hypot(*(row[2] - row[1] for row in rows))
        return Figure(max(0.0, middle - down), middle, middle + up, _basis(parts), _notes(parts))

    def times(self, other: Figure) -> Figure:
        """The product of two that are wrong independently: as ``plus``, of their logarithms."""
        if missing := _missing((self, other)):
            return missing
        a, b = self.numbers(), other.numbers()
        middle = a[1] * b[1]
        if middle == 0:
            return Figure(0.0, 0.0, a[2] * b[2], _basis((self, other)), _notes((self, other)))
        up = _exp(math.hypot(math.log(a[2] / a[1]), math.log(b[2] / b[1])))
        down = 0.0
        if a[0] > 0 and b[0] > 0:
            down = math.exp(-math.hypot(math.log(a[1] / a[0]), math.log(b[1] / b[0])))
        # Never beyond both being at theirs; it also keeps a median near 0 from overflowing.
        high = min(middle * up, a[2] * b[2])
        both = (self, other)
        return Figure(middle * min(down, 1.0), middle, high, _basis(both), _notes(both))

    def largest(self, *others: Figure) -> Figure:
        """The largest of each percentile, unknown where one of them is."""
        parts = (self, *others)
        if missing := _missing(parts):
            return missing
        low, middle, high = (
            max(column) for column in zip(*(p.numbers() for p in parts), strict=True)
        )
        return Figure(low, middle, high, _basis(parts), _notes(parts))

    def with_note(self, note: str) -> Figure:
        """The same with this note added to its own."""
        return Figure(self.p10, self.p50, self.p90, self.basis, _joined((self.note, note)))

    def to_json(self) -> JSON:
        """As the protocol's CostFigure in JSON."""
        said: JSON = {"basis": str(self.basis)}
        if self.known:
            said |= {"p10": self.p10, "p50": self.p50, "p90": self.p90}
        if self.note:
            said["note"] = self.note
        return said

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Figure:
        """The inverse; None or an empty object is unknown. Raises ValueError for anything else."""
        if not value:
            return cls.unknown()
        basis = Basis(value.get("basis", Basis.UNKNOWN))
        note = value.get("note", "")
        return cls(value.get("p10"), value.get("p50"), value.get("p90"), basis, note)


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise TooLarge("the counts of this workload multiply to no finite number; ask for less")
    return number


def _product(number: float, factor: float) -> float:
    try:
        return number * factor
    except OverflowError:
        return math.inf


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf


def _missing(parts: Iterable[Figure]) -> Figure | None:
    unknown = [part for part in parts if not part.known]
    return Figure.unknown(_notes(unknown)) if unknown else None


def _notes(parts: Iterable[Figure]) -> str:
    return _joined(part.note for part in parts)


def _joined(notes: Iterable[str]) -> str:
    """Each of them once; they may be joined ones."""
    said = (part for note in notes for part in note.split(_BETWEEN_NOTES) if part)
    return _BETWEEN_NOTES.join(dict.fromkeys(said))


def _basis(parts: Iterable[Figure]) -> Basis:
    """The weakest of those that add anything: an exact 0 makes nothing less sure."""
    chosen = list(parts)
    counting = [part.basis for part in chosen if part.p90 != 0]
    return weakest(*(counting or [part.basis for part in chosen]))


_UNKNOWN = Figure.unknown()


@dataclass(frozen=True, slots=True)
class Resources:
    """What work takes: a Figure for each field of the protocol's ResourceFigures, in its order.

    Operations, bytes, core seconds, seconds on the clock, bytes, bytes, bytes, joules, grams, US
    dollars. What is not given is unknown.
    """

    flops: Figure = _UNKNOWN
    memory_traffic_bytes: Figure = _UNKNOWN
    cpu_seconds: Figure = _UNKNOWN
    wall_seconds: Figure = _UNKNOWN
    peak_memory_bytes: Figure = _UNKNOWN
    disk_bytes: Figure = _UNKNOWN
    network_bytes: Figure = _UNKNOWN
    energy_joules: Figure = _UNKNOWN
    co2e_grams: Figure = _UNKNOWN
    money_usd: Figure = _UNKNOWN

    def __getitem__(self, name: str) -> Figure:
        """The figure of this field. Raises KeyError for another name."""
        if name not in FIGURES:
            raise KeyError(name)
        figure: Figure = getattr(self, name)
        return figure

    def mapped(self, function: Callable[[str, Figure], Figure]) -> Resources:
        """Each figure through ``function(name, figure)``."""
        return Resources(**{name: function(name, self[name]) for name in FIGURES})

    def to_json(self) -> JSON:
        """As the protocol's ResourceFigures in JSON: all ten, the unknown ones too."""
        return {name: self[name].to_json() for name in FIGURES}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Resources:
        """The inverse; missing figures are unknown."""
        given = value or {}
        return cls(**{name: Figure.from_json(given.get(name)) for name in FIGURES})


FIGURES: tuple[str, ...] = tuple(field.name for field in fields(Resources))
# Held one after the other by phases that follow each other, so the most counts and not the sum.
LARGEST = frozenset({"peak_memory_bytes", "disk_bytes"})


def total(phases: Iterable[Resources]) -> Resources:
    """All phases together: sums (``Figure.plus``), of ``LARGEST`` the largest; none: unknown."""
    parts = list(phases)
    if not parts:
        return Resources()

    def whole(name: str, first: Figure) -> Figure:
        rest = [part[name] for part in parts[1:]]
        return first.largest(*rest) if name in LARGEST else first.plus(*rest)

    return parts[0].mapped(whole)
