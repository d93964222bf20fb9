"""The arithmetic of the figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A measured stretch of work: so many units in ``wall`` seconds of the clock.

    ``cpu`` are the seconds of CPU that each process under measurement spent, by its name;
    ``elsewhere`` the cores that all other work on the machine kept busy meanwhile (0.3: a third of
    a core), None where that is not known.
    """

    units: float
    wall: float
    cpu: dict[str, float]
    elsewhere: float | None = None

    @property
    def rate(self) -> float:
        """Units a second of the clock."""
        return self.units / self.wall


@dataclass(frozen=True)
class Summary:
    """The medians of several spans, and the slowest and fastest of their rates."""

    rate: float
    least: float
    most: float
    cores: dict[str, float]
    elsewhere: float | None


def summarize(spans: Sequence[Span]) -> Summary:
    """Medians of ``spans``. ``cores`` are the cores that each process kept busy."""
    rates = [span.rate for span in spans]
    others = [span.elsewhere for span in spans if span.elsewhere is not None]
    names = spans[0].cpu
    return Summary(
        rate=statistics.median(rates),
        least=min(rates),
        most=max(rates),
        cores={name: statistics.median(s.cpu[name] / s.wall for s in spans) for name in names},
        elsewhere=statistics.median(others) if others else None,
    )


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered or not 0.0 < share <= 1.0:
        raise ValueError("a percentile needs values, and a share above 0 and at most 1")
    return ordered[math.ceil(share * len(ordered)) - 1]


def ratio(value: float, base: float) -> float:
    """How many times ``base`` is in ``value``; not a number where base is not positive."""
    return value / base if base > 0 else math.nan
