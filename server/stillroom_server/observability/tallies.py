"""Counters and histograms that one thread writes and a scrape reads.

prometheus_client's own take a lock and several calls an event: with seven events a request that
was a fifth of what the server added to a unary Embed. The event loop is the only writer here, so a
plain number is enough; a scrape in another thread reads it between two bytecodes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric


class Counter:
    """Counts up. ``add`` is for the event loop's thread only."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Counts ``amount`` more, which must not be negative."""
        self.value += amount


class Histogram:
    """Counts by bucket; ``bounds`` are the upper ones, ascending, without infinity."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One event of size ``value``. For the event loop's thread only."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Pairs of upper bound and number of events up to it, as Prometheus wants them."""
        pairs, events = [], 0
        for bound, count in zip((*self._bounds, "+Inf"), self.counts, strict=True):
            events += count
            pairs.append((str(bound), float(events)))
        return pairs


S = TypeVar("S", Counter, Histogram)


class _Family(Generic[S]):
    """The series of one metric by their labels' values."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: Sequence[str]
    ) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self._series: dict[tuple[str, ...], S] = {}
        registry.register(self)

    def _declare(self, labels: tuple[str, ...], made: S) -> S:
        if len(labels) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}, not {labels}")
        return self._series.setdefault(labels, made)

    def remove(self, *labels: str) -> None:
        """Drops a series, if it is there."""
        self._series.pop(labels, None)

    def describe(self) -> Iterable[Metric]:
        """The metric without its series."""
        return [self._empty()]

    def collect(self) -> Iterable[Metric]:
        """The metric as it is now."""
        family = self._empty()
        for labels, series in self._series.copy().items():
            self._add(family, labels, series)
        return [family]

    def _empty(self) -> Metric:
        raise NotImplementedError

    def _add(self, family: Metric, labels: tuple[str, ...], series: S) -> None:
        raise NotImplementedError


class Counters(_Family[Counter]):
    """Counters of one name; Prometheus sees it with ``_total`` behind it."""

    def labels(self, *labels: str) -> Counter:
        """The series of these values, made at zero if it is new. Keep it: this is a look-up."""
        return self._declare(labels, Counter())

    def _empty(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._text, labels=self._labels)

    def _add(self, family: Metric, labels: tuple[str, ...], series: Counter) -> None:
        assert isinstance(family, CounterMetricFamily)
        family.add_metric(labels, series.value)


class Histograms(_Family[Histogram]):
    """Histograms of one name and one set of bounds."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: Sequence[str],
        bounds: Sequence[float],
    ) -> None:
        self._bounds = tuple(bounds)
        super().__init__(registry, name, text, labels)

    def labels(self, *labels: str) -> Histogram:
        """The series of these values, made empty if it is new. Keep it: this is a look-up."""
        return self._declare(labels, Histogram(self._bounds))

    def _empty(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def _add(self, family: Metric, labels: tuple[str, ...], series: Histogram) -> None:
        assert isinstance(family, HistogramMetricFamily)
        family.add_metric(labels, series.cumulative(), series.total)
