from __future__ import annotations

import pytest

from operations.support import Monotonic
from stillroom_server.operations.progress import ProgressMeter, RateMeter


def test_rate_and_time_left(monotonic: Monotonic) -> None:
    meter = ProgressMeter(("load", "train"), monotonic)
    first = meter.update("train", 100, 1000, "steps", "warming up")
    assert (first.rate, first.seconds_left) == (None, None)
    assert (first.phase_index, first.phase_count, first.unit) == (1, 2, "steps")
    assert first.message == "warming up"
    assert first.fraction == pytest.approx(0.55)
    monotonic.advance(4)
    # The 100 that a resumed phase found done are no speed.
    second = meter.update("train", 300, 1000, "steps")
    assert second.rate == pytest.approx(50)
    assert second.seconds_left == pytest.approx(14)


def test_every_phase_has_a_rate_of_its_own(monotonic: Monotonic) -> None:
    meter = ProgressMeter(("load", "train"), monotonic)
    meter.update("load", 0, 10, "files")
    monotonic.advance(1)
    assert meter.update("load", 10, 10, "files").rate == pytest.approx(10)
    assert meter.update("train", 0, 10, "steps").rate is None


def test_fraction_never_falls(monotonic: Monotonic) -> None:
    meter = ProgressMeter(("a", "b"), monotonic)
    updates = [("a", 5, 10), ("a", 2, 10), ("b", 0, 0), ("a", 0, 10), ("b", 20, 10)]
    fractions = [meter.update(phase, done, total, "x").fraction for phase, done, total in updates]
    assert fractions == [0.25, 0.25, 0.5, 0.5, 1.0]


def test_more_than_all_is_all(monotonic: Monotonic) -> None:
    assert ProgressMeter(("a",), monotonic).update("a", 12, 10, "x").done == 10


@pytest.mark.parametrize(("phase", "done", "total"), [("b", 0, 1), ("a", -1, 1), ("a", 0, -1)])
def test_mistakes_are_refused(phase: str, done: int, total: int, monotonic: Monotonic) -> None:
    with pytest.raises(ValueError, match=r"no phase|negative"):
        ProgressMeter(("a",), monotonic).update(phase, done, total, "x")


def test_the_rate_follows_the_last_seconds_and_stays_small() -> None:
    meter = RateMeter()
    for tick in range(100_000):
        slow = meter.rate(tick * 0.01, tick)
    for tick in range(1, 2001):
        fast = meter.rate(1000 + tick * 0.01, 100_000 + 10 * tick)
    assert slow == pytest.approx(100, rel=0.01)
    assert fast == pytest.approx(1000, rel=0.01)
    assert len(meter._samples) < 80


def test_a_phase_that_goes_back_begins_a_new_rate() -> None:
    meter = RateMeter()
    meter.rate(0, 500)
    assert meter.rate(1, 100) is None
    assert meter.rate(2, 200) == pytest.approx(100)


def test_shares_say_how_long_each_phase_is(monotonic: Monotonic) -> None:
    meter = ProgressMeter(("import", "load", "train", "publish"), monotonic)
    meter.expect({"load": 1, "train": 8, "publish": 1})
    first = meter.update("load", 1, 1, "teacher")
    assert (first.phase_index, first.phase_count, first.fraction) == (0, 3, pytest.approx(0.1))
    assert meter.update("train", 5, 10, "steps").fraction == pytest.approx(0.5)
    assert meter.update("publish", 1, 1, "student").fraction == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no phase"):
        meter.update("import", 0, 1, "x")


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -1.0}, {"c": 1.0}])
def test_shares_that_make_no_sense(shares: dict[str, float], monotonic: Monotonic) -> None:
    with pytest.raises(ValueError, match="shares"):
        ProgressMeter(("a", "b"), monotonic).expect(shares)
