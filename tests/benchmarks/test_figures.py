"""The arithmetic of the figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import quality, unary
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
