"""Lines through batch sizes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom_server.cost.calibration.rates import (
    CLASSIFIER,
    HOST,
    NONE,
    STUDENT,
    TEACHER,
    UNITS,
    Line,
    RateSet,
    fit,
)

SECONDS = st.floats(1e-7, 1e3)
UNIT_COUNTS = st.floats(1.0, 1e9)


def test_a_line_is_found_again() -> None:
    found = fit("hash", [(units, 0.002 + 3e-9 * units) for units in (1e3, 1e5, 1e7)])
    assert found.intercept_seconds == pytest.approx(0.002)
    assert found.slope_seconds == pytest.approx(3e-9)
    assert (found.unit, found.min_units, found.max_units) == ("bytes", 1e3, 1e7)
    assert found.seconds(2e6, calls=3) == pytest.approx(0.006 + 0.006)


def test_the_largest_point_does_not_outweigh_the_others() -> None:
    """A tenth too much at the top moves the bottom by about as much, and not by its many times."""
    found = fit("hash", [(1.0, 1.0), (10.0, 1.9), (1000.0, 110.0)])
    assert found.seconds(1.0) == pytest.approx(1.0, rel=0.15)


@given(intercept=SECONDS, slope=st.floats(1e-9, 1.0), sizes=st.sets(UNIT_COUNTS, min_size=2))
def test_points_of_a_line_are_met(intercept: float, slope: float, sizes: set[float]) -> None:
    points = [(units, intercept + slope * units) for units in sizes]
    found = fit("memory", points)
    for units, seconds in points:
        assert found.seconds(units) == pytest.approx(seconds, rel=0.02)


@given(st.lists(st.tuples(UNIT_COUNTS, st.floats(0.0, 1e3)), min_size=1, max_size=8))
def test_any_points_give_a_line_that_never_falls(points: list[tuple[float, float]]) -> None:
    found = fit("memory", points)
    assert found.intercept_seconds >= 0.0
    assert found.slope_seconds >= 0.0
    assert found.min_units == min(units for units, _ in points)


def test_one_size_goes_through_zero() -> None:
    found = fit("teacher.load", [(200.0, 4.0)])
    assert (found.intercept_seconds, found.slope_seconds) == (0.0, pytest.approx(0.02))


def test_times_that_fall_are_level() -> None:
    found = fit("memory", [(1.0, 2.0), (10.0, 1.0)])
    assert found.slope_seconds == 0.0
    assert 1.0 < found.seconds(5.0) < 2.0


@pytest.mark.parametrize(
    "points", [[], [(0.0, 1.0)], [(1.0, -1.0)], [(1.0, float("nan"))], [(float("inf"), 1.0)]]
)
def test_what_is_no_measurement_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="no line"):
        fit("memory", points)


def test_a_line_as_json_and_back() -> None:
    line = fit("matmul", [(1.0, 0.1), (2.0, 0.15)])
    assert Line.from_json(line.to_json()) == line


@pytest.mark.parametrize(
    "change", [{"name": "unheard.of"}, {"slope_seconds": -1.0}, {"slope_seconds": "much"}]
)
def test_a_damaged_line_is_refused(change: dict[str, object]) -> None:
    value = fit("matmul", [(1.0, 0.1)]).to_json() | change
    with pytest.raises((ValueError, KeyError)):
        Line.from_json(value)


def test_every_rate_has_a_unit() -> None:
    assert {*HOST, *TEACHER, *STUDENT, *CLASSIFIER} == set(UNITS)


def test_what_is_told_of_measurements() -> None:
    now = datetime(2030, 1, 2, tzinfo=UTC)
    line = fit("matmul", [(1.0, 0.1)])
    found = RateSet({"matmul": line}, "sha256:00", now - timedelta(hours=1), fresh=True)
    told = found.info(now)
    assert told is not None
    assert told["age_seconds"] == 3600.0
    assert told["calibration_time"] == "2030-01-01T23:00:00Z"
    assert told["fresh"] is True
    assert told["rates"] == [line.to_json()]
    assert found.get("matmul") == line
    assert found.missing(("matmul", "hash")) == ["hash"]


def test_of_nothing_nothing_is_told() -> None:
    assert NONE.info(datetime(2030, 1, 1, tzinfo=UTC)) is None
    assert NONE.get("matmul") is None
