from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.ledger.intervals import CORRECTED, NEEDED_JOBS, Intervals, Scores

SCORES = st.lists(st.floats(-5, 5), max_size=60)
POSITIVE = st.floats(1e-3, 1e12)


def intervals(scores: list[float]) -> Intervals:
    return Intervals(lambda _kind, _figure: Scores(scores, len(scores)))


def around(p50: float) -> Figure:
    return Figure.around(p50, 0.8, 1.3, Basis.CALIBRATED)


def apply(scores: list[float], figure: Figure) -> tuple[float, float, float]:
    return intervals(scores).apply("distill", "wall_seconds", figure).numbers()


def test_of_nineteen_jobs_the_second_and_the_eighteenth_bound_the_next() -> None:
    scores = [math.log(ratio) for ratio in range(1, 20)]
    random.Random(1).shuffle(scores)
    assert apply(scores, around(10.0)) == pytest.approx((20.0, 100.0, 180.0))


@pytest.mark.parametrize(("jobs", "share"), [(10, 0.8), (19, 0.8), (40, 0.8)])
def test_the_next_job_is_between_as_often_as_it_should(jobs: int, share: float) -> None:
    """Whatever the errors' distribution: here one that is biased, skewed and long in its tail."""
    chance = random.Random(jobs)

    def error() -> float:
        return 0.7 + chance.gammavariate(0.5, 0.4)

    within = 0
    for _ in range(2000):
        low, _, high = apply([error() for _ in range(jobs)], around(1.0))
        within += low <= math.exp(error()) <= high
    assert within / 2000 >= share - 0.03


@given(SCORES, POSITIVE, POSITIVE)
def test_percentiles_stay_in_order_and_grow_with_the_estimate(
    scores: list[float], a: float, b: float
) -> None:
    small, large = sorted((a, b))
    lower, higher = apply(scores, around(small)), apply(scores, around(large))
    assert lower[0] <= lower[1] <= lower[2]
    assert all(x <= y for x, y in zip(lower, higher, strict=True))


@given(SCORES, POSITIVE)
def test_undo_finds_what_was_estimated_before(scores: list[float], p50: float) -> None:
    told = apply(scores, around(p50))[1]
    assert intervals(scores).undo("distill", "wall_seconds", told) == pytest.approx(p50)


def test_without_jobs_the_wider_of_prior_and_own_interval_holds() -> None:
    exact = Figure.exact(10.0, Basis.CALIBRATED)
    low, middle, high = apply([], exact)
    assert low < middle == 10.0 < high
    wide = Figure(1.0, 10.0, 90.0, Basis.SPEC)
    assert apply([], wide) == (1.0, 10.0, 90.0)


def test_few_jobs_move_the_middle_by_their_share() -> None:
    always_double = [math.log(2.0)] * 4
    _, middle, _ = apply(always_double, around(10.0))
    assert middle == pytest.approx(10.0 * 2.0 ** (4 / NEEDED_JOBS))
    low, middle, high = apply(always_double * 3, around(10.0))
    assert (low, middle, high) == pytest.approx((20.0, 20.0, 20.0))


def test_basis_says_when_the_ledger_speaks() -> None:
    assert intervals([0.1] * 9).basis("distill") == {
        "from_ledger": False,
        "ledger_jobs": 9,
        "needed_jobs": 10,
    }
    assert Intervals(lambda *_: Scores([0.1] * 200, 4321)).basis("distill") == {
        "from_ledger": True,
        "ledger_jobs": 4321,
        "needed_jobs": 10,
    }


def test_the_unknown_stays_unknown_and_the_unmeasured_stays_as_it_is() -> None:
    moved = intervals([1.0] * 20)
    unknown = Figure.unknown("no price is known")
    zero = Figure.exact(0.0, Basis.CALIBRATED)
    for name in CORRECTED:
        assert moved.apply("distill", name, unknown) is unknown
        assert moved.apply("distill", name, zero) is zero
    assert moved.apply("distill", "flops", around(5.0)) == around(5.0)
    assert moved.undo("distill", "flops", 5.0) == 5.0


def test_an_exact_transfer_stays_exact() -> None:
    exact = Figure.exact(12345.0, Basis.CALIBRATED)
    assert intervals([]).apply("push", "network_bytes", exact) == exact
    assert intervals([0.0] * 50).apply("push", "network_bytes", exact) == exact


def test_too_few_needed_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot bound a tenth"):
        Intervals(lambda *_: Scores([], 0), needed_jobs=8)
