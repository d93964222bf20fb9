"""What Prometheus sees. The domain counts nothing: these objects wrap it or are asked at a scrape.

Every series exists before its first event, and a label's value always comes from a resolved name or
a fixed list, never from a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import grpc
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

from stillroom_server.observability.tallies import (
    Counter,
    Counters,
    Histogram,
    Histograms,
    Together,
)

LATENCY_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
)  # fmt: skip
EMBED_PHASES = ("tokenize", "infer", "serialize")
CLASSIFY_PHASES = ("tokenize", "infer", "head", "serialize")
BATCH_TEXTS_BUCKETS = tuple(2**power for power in range(13))
BATCH_TOKENS_BUCKETS = tuple(2**power for power in range(4, 18))
SHED_REASONS = ("TEACHER_QUEUE_FULL", "TEACHER_TOO_BUSY")


class RequestMetrics:
    """RPCs by method and code, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counters(
            registry, "stillroom_requests", "Finished RPCs", ["method", "code"]
        )
        self._seconds = Histograms(
            registry,
            "stillroom_request_duration_seconds",
            "From the arrival of an RPC to its end; for streams, their whole life",
            ["method"],
            LATENCY_BUCKETS,
        )
        self._methods: dict[str, tuple[dict[str, Counter], Histogram]] = {}

    def declare(self, method: str) -> None:
        """Makes the series of ``method`` (``/package.Service/Rpc``), all at zero."""
        codes = {code.name: self._requests.labels(method, code.name) for code in grpc.StatusCode}
        self._methods[method] = codes, self._seconds.labels(method)

    def finished(self, method: str, code: str, seconds: float) -> None:
        """One RPC ended with the gRPC code named ``code`` after ``seconds``."""
        codes, histogram = self._methods[method]
        codes[code].add()
        histogram.observe(seconds)

    def succeeded(self, method: str) -> Callable[[float], None]:
        """``finished`` of that method with OK, to be told the seconds."""
        codes, histogram = self._methods[method]
        succeeded, observe = codes["OK"], histogram.observe

        def count(seconds: float) -> None:
            succeeded.value += 1
            observe(seconds)

        return count


class _TextMetrics:
    """Texts by model in counters of each of ``kinds``, stream items by code, time by phase."""

    def __init__(
        self,
        registry: CollectorRegistry,
        what: str,
        kinds: Mapping[str, str],
        items: tuple[str, str],
        phases: Sequence[str],
    ) -> None:
        self._families = tuple(
            Counters(registry, f"stillroom_{what}_{name}", text, ["model"])
            for name, text in kinds.items()
        )
        codes = Counters(registry, *items, ["code"])
        seconds = Histograms(
            registry,
            f"stillroom_{what}_phase_duration_seconds",
            "Time of one request or stream item by phase",
            ["phase"],
            LATENCY_BUCKETS,
        )
        self._tokenize = seconds.labels("tokenize")
        self.seconds = Together([seconds.labels(phase) for phase in phases])
        """Of one request or item: its phases' seconds, in their order."""
        self._codes = {code.name: codes.labels(code.name) for code in grpc.StatusCode}
        self._models: dict[str, tuple[Counter, ...]] = {}

    def declare(self, models: Iterable[str]) -> None:
        """Makes the series of new models, and drops those of models that are no more."""
        names = set(models)
        for name in names - self._models.keys():
            self._models[name] = tuple(family.labels(name) for family in self._families)
        for name in self._models.keys() - names:
            for family in self._families:
                family.remove(name)
            del self._models[name]

    @property
    def requests(self) -> int:
        """Requests and stream items that have been tokenized since the start."""
        return self._tokenize.events

    def item(self, code: str) -> None:
        """One stream item was answered with the gRPC code named ``code``."""
        self._codes[code].add()

    def _series(self, model: str) -> tuple[Counter, ...]:
        series = self._models.get(model)
        if series is None:
            self.declare({*self._models, model})
            series = self._models[model]
        return series


class EmbedMetrics(_TextMetrics):
    """Texts and tokens by model, time by phase."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(
            registry,
            "embed",
            {
                "texts": "Texts embedded",
                "tokens": "Tokens embedded, after truncation",
                "truncated_texts": "Texts cut to the limit",
                "warned_texts": "Texts that are empty or all unknown",
            },
            ("stillroom_stream_items", "Items of embedding streams, by the code of their answer"),
            EMBED_PHASES,
        )

    def embedded(self, model: str, texts: int, tokens: int, truncated: int, warned: int) -> None:
        """One list of texts was embedded by ``model``, a resolved model name."""
        series = self._models.get(model) or self._series(model)
        series[0].value += texts
        series[1].value += tokens
        series[2].value += truncated
        series[3].value += warned

    def one_embedded(
        self, model: str, tokens: int, tokenize: float, infer: float, serialize: float
    ) -> None:
        """``embedded`` of one text, neither cut nor warned of, and the seconds that it took."""
        series = self._models.get(model) or self._series(model)
        series[0].value += 1
        series[1].value += tokens
        self.seconds.observe(tokenize, infer, serialize)


class ClassifyMetrics(_TextMetrics):
    """The same of classifiers, and what they abstained from. What a teacher embeds for one of them
    is counted here alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(
            registry,
            "classify",
            {
                "texts": "Texts classified",
                "tokens": "Tokens of texts classified, after truncation",
                "truncated_texts": "Texts cut to the limit before they were classified",
                "warned_texts": "Texts to classify that are empty or all unknown",
                "abstained_texts": "Texts that the classifier abstained from",
            },
            (
                "stillroom_classify_stream_items",
                "Items of classifying streams, by the code of their answer",
            ),
            CLASSIFY_PHASES,
        )

    def classified(
        self, model: str, texts: int, tokens: int, truncated: int, warned: int, abstained: int
    ) -> None:
        """One list of texts was classified by ``model``, a resolved model name."""
        series = self._models.get(model) or self._series(model)
        series[0].value += texts
        series[1].value += tokens
        series[2].value += truncated
        series[3].value += warned
        series[4].value += abstained

    def one_classified(self, model: str, tokens: int, abstained: bool) -> None:
        """``classified`` of one text, neither cut nor warned of."""
        series = self._models.get(model) or self._series(model)
        series[0].value += 1
        series[1].value += tokens
        series[4].value += abstained


class TeacherMetrics:
    """The teacher engine, as the front sees it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histograms(registry, f"stillroom_teacher_{name}", text, [], buckets).labels()

        self._queue = histogram(
            "queue_duration_seconds",
            "Wait of one request or stream item for the teacher engine, loading included",
            LATENCY_BUCKETS,
        )
        self._seconds = histogram(
            "batch_duration_seconds", "Time of one forward pass", LATENCY_BUCKETS
        )
        self._texts = histogram("batch_texts", "Texts of one forward pass", BATCH_TEXTS_BUCKETS)
        self._tokens = histogram(
            "batch_tokens", "Tokens of one forward pass, padding included", BATCH_TOKENS_BUCKETS
        )
        shed = Counters(
            registry, "stillroom_teacher_shed_requests", "Requests refused unserved", ["reason"]
        )
        self._shed = {reason: shed.labels(reason) for reason in SHED_REASONS}
        self._deaths = Counters(
            registry, "stillroom_teacher_engine_restarts", "Engines that ended unasked", []
        ).labels()

    def queued(self, seconds: float) -> None:
        """One request waited so long for its first batch."""
        self._queue.observe(seconds)

    def batch(self, texts: int, padded_tokens: int, seconds: float) -> None:
        """One forward pass."""
        self._texts.observe(texts)
        self._tokens.observe(padded_tokens)
        self._seconds.observe(seconds)

    def shed(self, reason: str) -> None:
        """One request was refused for ``reason``, one of SHED_REASONS."""
        self._shed[reason].add()

    def died(self) -> None:
        """The engine ended unasked."""
        self._deaths.add()


class GaugeCollector:
    """Gauges that are computed at each scrape: ``read`` answers value by label values."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: tuple[str, ...],
        read: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """The family without samples, so that registering reads nothing."""
        return [GaugeMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """The family as it is now."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        return [family]


def build_info(registry: CollectorRegistry, version: str) -> None:
    """A constant series that names the server's version."""
    gauge = Gauge(
        "stillroom_build", "Always 1; labels say what runs", ["version"], registry=registry
    )
    gauge.labels(version).set(1)
