"""Counters and histograms that one thread writes and a scrape reads.

prometheus_client's own take a lock and several calls an event: with seven events a request that
was a fifth of what the server added to a unary Embed. The event loop is the only writer here, so a
plain number is enough; a scrape in another thread reads it between two bytecodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

_MOST_NOTED = 1024


class Counter:
    """Counts up. ``add`` is for the event loop's thread only."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Counts ``amount`` more, which must not be negative."""
        self.value += amount


class Histogram:
    """Counts by bucket; ``bounds`` are the upper ones, ascending, without infinity.

    Events are noted one by one and sorted into their buckets many at once, or when somebody asks.
    """

    __slots__ = ("_bounds", "_counts", "_noted", "_sorting", "_total", "settle")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.settle: Callable[[], None] | None = None
        """Brings what is noted elsewhere for this histogram; called before it is read."""
        self._bounds = np.asarray(bounds, np.float64)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._total = 0.0
        self._noted: list[float] = []
        self._sorting = threading.Lock()

    def observe(self, value: float) -> None:
        """One event of size ``value``. For the event loop's thread only."""
        noted = self._noted
        noted.append(value)
        if len(noted) >= _MOST_NOTED:
            self._sort()

    @property
    def events(self) -> int:
        """How many there have been."""
        return int(self._sort()[0].sum())

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Pairs of upper bound and number of events up to it, as Prometheus wants them; and the sum
        of all events."""
        counts, total = self._sort()
        bounds = (*map(str, self._bounds.tolist()), "+Inf")
        return list(zip(bounds, map(float, counts.cumsum()), strict=True)), total

    def observe_all(self, values: Sequence[float]) -> None:
        """As many events. For any thread."""
        with self._sorting:
            self._count(values)

    def _sort(self) -> tuple[npt.NDArray[np.int64], float]:
        if self.settle is not None:
            self.settle()
        with self._sorting:
            values = self._noted[: len(self._noted)]
            del self._noted[: len(values)]  # the event loop may have noted more meanwhile
            self._count(values)
            return self._counts.copy(), self._total

    def _count(self, values: Sequence[float]) -> None:
        places = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._total += sum(values)


class Together:
    """Histograms that each event has a value for: it is noted once, for all of them."""

    __slots__ = ("_histograms", "_noted", "_settling")

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        self._histograms = tuple(histograms)
        self._noted: list[tuple[float, ...]] = []
        self._settling = threading.Lock()
        for histogram in histograms:
            histogram.settle = self._settle

    def observe(self, *values: float) -> None:
        """One event, a value for each histogram. For the event loop's thread only."""
        noted = self._noted
        noted.append(values)
        if len(noted) >= _MOST_NOTED:
            self._settle()

    def _settle(self) -> None:
        with self._settling:
            events = self._noted[: len(self._noted)]
            del self._noted[: len(events)]  # the event loop may have noted more meanwhile
            if events:
                columns = zip(*events, strict=True)
                for histogram, values in zip(self._histograms, columns, strict=True):
                    histogram.observe_all(values)


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
        family.add_metric(labels, *series.cumulative())
