"""The arithmetic of the figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import memory, overload, quality, saturated, unary
from benchmarks.data import Labeled, Pairs
from benchmarks.figures import Span, percentile, ratio, summarize


def test_a_summary_is_of_medians_not_means() -> None:
    spans = [
        Span(100, 1.0, {"server": 0.5}, 0.0),
        Span(100, 2.0, {"server": 0.5}, 0.1),
        Span(100, 50.0, {"server": 0.5}, 1.9),
    ]
    found = summarize(spans)
    assert (found.rate, found.least, found.most) == (50.0, 2.0, 100.0)
    assert found.cores == {"server": 0.25}
    assert found.elsewhere == 0.1


def test_a_summary_without_knowledge_of_the_machine_says_so() -> None:
    assert summarize([Span(1, 1.0, {})]).elsewhere is None


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.001, 1)]
)
def test_percentiles_are_values_that_occurred(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.5)])
def test_percentiles_of_nothing_are_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_ratios() -> None:
    assert ratio(6.0, 2.0) == 3.0
    assert math.isnan(ratio(1.0, 0.0))


def test_unary_percentiles_are_of_each_way_and_server() -> None:
    seconds = {"gRPC alone": {"stillroom": [3.0] * 99 + [9.0], "no-op": [2.0] * 100}}
    found = unary.values(seconds)["gRPC alone"]
    assert found == {"stillroom": {"p50": 3.0, "p99": 3.0}, "no-op": {"p50": 2.0, "p99": 2.0}}
    rows = unary.table(seconds).rows
    assert rows[0] == ["gRPC alone, p50", "3,000,000", "2,000,000", "1.50"]


VECTORS = {"east": (2.0, 0.0), "north": (0.0, 3.0), "between": (1.0, 1.0), "nothing": (0.0, 0.0)}


def encode(texts: object) -> NDArray[np.float32]:
    """Vectors by name, of other than unit length."""
    return np.array([VECTORS[text] for text in texts], dtype=np.float32)  # type: ignore[attr-defined]


def test_spearman_orders_pairs_as_people_do_or_the_other_way_round() -> None:
    first, second = ["east", "east", "east"], ["east", "between", "north"]
    assert quality.spearman(encode, Pairs(first, second, [5.0, 3.0, 1.0])) == pytest.approx(100)
    assert quality.spearman(encode, Pairs(first, second, [1.0, 3.0, 5.0])) == pytest.approx(-100)


def test_spearman_survives_a_text_without_a_vector() -> None:
    pairs = Pairs(["east", "east", "nothing"], ["east", "between", "north"], [5.0, 3.0, 1.0])
    assert quality.spearman(encode, pairs) == pytest.approx(100)


def test_accuracy_is_a_percentage_of_the_test_part() -> None:
    train = Labeled(["east", "north"] * 10, ["e", "n"] * 10)
    test = Labeled(["east", "north", "east", "north"], ["e", "n", "e", "e"])
    assert quality.accuracy(encode, train, test) == 75.0


def test_one_figure_below_the_tolerance_is_a_miss() -> None:
    assert quality.not_below({"STS 2012": -0.1, "TREC": 3.0})
    assert not quality.not_below({"STS 2012": -0.11, "TREC": 3.0})


def spans(rates: list[float], cpu: float) -> list[Span]:
    """Rounds of a second."""
    return [Span(rate, 1.0, {"server": cpu * rate}) for rate in rates]


def test_saturated_ratios_are_of_neighbors_not_of_medians() -> None:
    ours, nothing = spans([600, 60, 700], 0.002), spans([1000, 100, 1000], 0.001)
    assert saturated.shares(list(zip(ours, nothing, strict=True))) == pytest.approx((0.6, 2.0))


def test_growth_is_to_the_most_of_the_later_looks() -> None:
    assert memory.growth([100, 104, 101]) == pytest.approx(1.04)
    assert math.isnan(memory.growth([0, 0]))


def test_varied_texts_are_twice_as_many_and_all_different() -> None:
    assert memory.varied(["a", "b"]) == ["a", "b", "a 0", "b 1"]


def open_loop(goodput: float, p99: float | None, recovery: float) -> dict[str, object]:
    """The report of a load client."""
    summary = None if p99 is None else {"p99": p99}
    error = {"code": "RESOURCE_EXHAUSTED", "reason": "TEACHER_TOO_BUSY", "message": "m", "count": 3}
    return {
        "rate": 500.0,
        "per_second": {"messages": goodput},
        "messages": {"unsent": 7},
        "failure_seconds": summary,
        "latency_seconds": {"p99": 0.2},
        "recovery": recovery,
        "errors": [error],
    }


@pytest.mark.parametrize(
    ("goodput", "p99", "recovery", "most", "met"),
    [
        (95, 0.04, 0.5, 120, [True, True, True, True]),
        (85, 0.06, 2.5, 10**9, [False, False, False, False]),
        (95, None, 0.5, 120, [True, None, True, True]),
    ],
)
def test_overload_is_judged_by_what_was_wanted(
    goodput: float, p99: float | None, recovery: float, most: int, met: list[bool | None]
) -> None:
    found = overload.judged(100.0, open_loop(goodput, p99, recovery), 100, most)
    assert found.share == goodput / 100
    assert found.errors == {"RESOURCE_EXHAUSTED TEACHER_TOO_BUSY (m)": 3}
    targets = overload.targets(overload.Case("teacher", 32, 0.9, refusals=True), found)
    assert [target.met for target in targets] == met


def test_a_reported_case_still_has_to_recover() -> None:
    found = overload.judged(100.0, open_loop(10, 0.01, 0.1), 100, 100)
    assert len(overload.targets(overload.Case("student", 1, None), found)) == 2
