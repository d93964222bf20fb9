from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stillroom_server.observability.metrics import EmbedMetrics, GaugeCollector, RequestMetrics
from stillroom_server.observability.tallies import Counters, Histograms, Together


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_a_histogram_is_cumulative_and_its_bounds_belong_to_it() -> None:
    registry = CollectorRegistry()
    series = Histograms(registry, "t", "text", ["k"], (0.1, 1.0)).labels("v")
    for value in (0.05, 0.1, 0.5, 7.0):
        series.observe(value)
    found = samples(registry)
    by_bound = [found["t_bucket", (("k", "v"), ("le", le))] for le in ("0.1", "1.0", "+Inf")]
    assert by_bound == [2, 3, 4]
    assert found["t_count", (("k", "v"),)] == 4
    assert found["t_sum", (("k", "v"),)] == pytest.approx(7.65)


def test_a_histogram_counts_more_events_than_it_notes() -> None:
    bounds = (0.1, 0.2, 0.5)
    series = Histograms(CollectorRegistry(), "t", "text", [], bounds).labels()
    values = [index % 7 / 10 for index in range(2500)]
    for value in values:
        series.observe(value)
    pairs, total = series.cumulative()
    expected = [sum(value <= bound for value in values) for bound in bounds]
    assert [count for _, count in pairs] == [*expected, 2500]
    assert total == pytest.approx(sum(values))
    assert series.events == 2500
    assert series.cumulative() == (pairs, total)


def test_what_is_noted_together_is_counted_apart() -> None:
    registry = CollectorRegistry()
    family = Histograms(registry, "t", "text", ["k"], (1.0, 10.0))
    small, large = family.labels("small"), family.labels("large")
    together = Together([small, large])
    assert small.events == 0
    for index in range(2500):
        together.observe(index % 2, 5.0)
    large.observe(100.0)
    found = samples(registry)
    counts = [
        [found["t_bucket", (("k", kind), ("le", le))] for le in ("1.0", "10.0", "+Inf")]
        for kind in ("small", "large")
    ]
    assert counts == [[2500, 2500, 2500], [0, 2500, 2501]]
    assert found["t_sum", (("k", "small"),)] == 1250
    assert found["t_sum", (("k", "large"),)] == 2500 * 5.0 + 100.0
    assert (small.events, large.events) == (2500, 2501)


def test_nothing_is_lost_to_scrapes_meanwhile() -> None:
    together = Together([Histograms(CollectorRegistry(), "t", "x", [], (1.0,)).labels()])
    (series,) = together._histograms
    done = threading.Event()

    def scrape() -> None:
        while not done.is_set():
            series.cumulative()

    with ThreadPoolExecutor(2) as pool:
        scrapes = [pool.submit(scrape) for _ in range(2)]
        for _ in range(20_000):
            together.observe(0.5)
        done.set()
        for each in scrapes:
            each.result()
    assert series.events == 20_000


def test_labels_are_counted_and_kept() -> None:
    registry = CollectorRegistry()
    counters = Counters(registry, "n", "text", ["a", "b"])
    assert counters.labels("x", "y") is counters.labels("x", "y")
    with pytest.raises(ValueError, match="labels"):
        counters.labels("x")
    counters.labels("x", "y").add(3)
    assert samples(registry)["n_total", (("a", "x"), ("b", "y"))] == 3
    counters.remove("x", "y")
    counters.remove("x", "y")
    assert samples(registry) == {}


def test_every_code_of_a_method_is_there_before_its_first_event() -> None:
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry)
    metrics.declare("/a.B/C")
    found = samples(registry)
    zero = ("stillroom_requests_total", (("code", "UNAVAILABLE"), ("method", "/a.B/C")))
    assert found[zero] == 0
    assert found["stillroom_request_duration_seconds_count", (("method", "/a.B/C"),)] == 0
    metrics.finished("/a.B/C", "UNAVAILABLE", 0.2)
    assert samples(registry)[zero] == 1
    with pytest.raises(KeyError):
        metrics.finished("/not/Declared", "OK", 0.1)


def test_series_come_and_go_with_their_models() -> None:
    registry = CollectorRegistry()
    metrics = EmbedMetrics(registry)
    metrics.declare(["a", "b"])
    metrics.embedded("a", 2, 30, 1, 0)
    metrics.embedded("new", 1, 5, 0, 1)
    metrics.declare(["a", "new"])
    found = samples(registry)
    texts = {
        dict(labels)["model"]: value
        for (name, labels), value in found.items()
        if name == "stillroom_embed_texts_total"
    }
    assert texts == {"a": 2, "new": 1}
    assert found["stillroom_embed_tokens_total", (("model", "a"),)] == 30
    assert found["stillroom_embed_truncated_texts_total", (("model", "a"),)] == 1
    assert found["stillroom_embed_warned_texts_total", (("model", "new"),)] == 1


def test_gauges_are_read_at_each_scrape() -> None:
    registry = CollectorRegistry()
    values = {("x",): 1.0}
    GaugeCollector(registry, "g", "text", ("k",), lambda: values)
    assert samples(registry) == {("g", (("k", "x"),)): 1}
    values["y",] = 2.0
    assert samples(registry)["g", (("k", "y"),)] == 2
