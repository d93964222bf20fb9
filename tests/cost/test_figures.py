"""Figures keep their order, their basis and what they do not know."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.figures import (
    FIGURES,
    LARGEST,
    Basis,
    Figure,
    Resources,
    TooLarge,
    total,
    weakest,
)
from stillroom_server.rpc.json_messages import from_json

CALIBRATED, SPEC = Basis.CALIBRATED, Basis.SPEC
numbers = st.floats(0, 1e12)
figures = st.lists(numbers, min_size=3, max_size=3).map(
    lambda three: Figure(*sorted(three), CALIBRATED)
)


def ordered(figure):
    low, middle, high = figure.numbers()
    return low <= middle <= high


def test_the_fields_are_those_of_the_protocol_in_its_order():
    assert tuple(pb.ResourceFigures.DESCRIPTOR.fields_by_name) == FIGURES
    assert {str(basis) for basis in Basis} == set(pb.CostBasis.keys()) - {"COST_BASIS_UNSPECIFIED"}
    assert set(FIGURES) > LARGEST


@pytest.mark.parametrize(
    "wrong", [(3, 2, 4), (1, 4, 3), (-1, 0, 1), (None, 1, 2), (1, 2, None), (None, None, None)]
)
def test_percentiles_out_of_order_negative_or_missing_are_a_mistake(wrong):
    with pytest.raises(ValueError, match=r"must be|three numbers"):
        Figure(*wrong, CALIBRATED)


def test_an_unknown_figure_has_no_numbers():
    with pytest.raises(ValueError, match="no numbers"):
        Figure(0, 0, 0, Basis.UNKNOWN)
    with pytest.raises(ValueError, match="unknown"):
        Figure.unknown("no price").numbers()


@pytest.mark.parametrize("value", [math.inf, math.nan, 10**400])
def test_what_is_not_finite_is_too_large(value):
    with pytest.raises(TooLarge) as caught:
        Figure.exact(value, SPEC)
    assert isinstance(caught.value, InvalidArgument)
    assert caught.value.reason == "TOO_LARGE"


def test_overflow_is_caught_wherever_it_happens():
    big = Figure.exact(1e308, SPEC)
    for overflowing in (
        lambda: big.scaled(10.0),
        lambda: big.scaled(10**400),
        lambda: big.plus(big),
        lambda: big.times(big),
        lambda: Figure.around(1e308, 0.5, 2.0, SPEC),
        lambda: Figure.exact(1e-320, SPEC).inverse(),
        lambda: Figure(1e-300, 1e-300, 1e300, SPEC).times(Figure(1e-300, 1e-300, 1e300, SPEC)),
    ):
        with pytest.raises(TooLarge):
            overflowing()


def test_a_sum_is_surer_than_its_parts():
    part = Figure.around(10, 0.8, 1.3, CALIBRATED)
    low, middle, high = part.plus(part, part, part).numbers()
    assert middle == 40
    assert high == pytest.approx(40 + 2 * 3)
    assert low == pytest.approx(40 - 2 * 2)


def test_a_product_of_two_is_wrong_as_their_logarithms_are():
    product = Figure(5, 10, 20, CALIBRATED).times(Figure(1, 2, 4, SPEC))
    factor = 2 ** math.sqrt(2)
    assert product.numbers() == pytest.approx((20 / factor, 20, 20 * factor))
    assert product.basis is SPEC


def test_a_product_is_never_beyond_that_of_the_extremes():
    almost_nothing = Figure(0, 2e-309, 1, CALIBRATED)
    assert almost_nothing.times(almost_nothing).p90 == 1
    assert almost_nothing.times(Figure(0, 1, 1, CALIBRATED)).numbers() == (0, 2e-309, 1)


def test_times_an_exact_number_is_a_scale():
    figure = Figure(5, 10, 20, CALIBRATED)
    assert figure.times(Figure.exact(3, CALIBRATED)).numbers() == pytest.approx((15, 30, 60))
    assert figure.scaled(3).numbers() == (15, 30, 60)
    assert figure.times(Figure.exact(0, CALIBRATED)).numbers() == (0, 0, 0)


def test_the_unknown_stays_unknown():
    known, unknown = Figure.exact(1, SPEC), Figure.unknown("no price is known")
    for result in (
        known.plus(unknown),
        unknown.plus(known),
        known.times(unknown),
        unknown.largest(known),
        unknown.scaled(0),
        unknown.inverse(),
    ):
        assert not result.known
        assert result.note == "no price is known"


def test_a_rate_of_what_may_take_nothing_is_unknown():
    assert Figure(0.5, 1, 2, SPEC).inverse(10).numbers() == (5, 10, 20)
    assert not Figure(0, 1, 2, SPEC).inverse().known


def test_the_weakest_basis_counts_and_an_exact_zero_weakens_nothing():
    assert weakest(*Basis) is Basis.UNKNOWN
    assert weakest(Basis.MEASURED, CALIBRATED) is CALIBRATED
    measured, zero = Figure.exact(1, Basis.MEASURED), Figure.exact(0, Basis.TABLE)
    assert measured.plus(Figure.exact(1, SPEC)).basis is SPEC
    assert measured.plus(zero).basis is Basis.MEASURED
    assert zero.plus(zero).basis is Basis.TABLE


@given(figures, figures)
def test_operations_keep_the_order(one, other):
    for result in (one.plus(other), one.times(other), one.largest(other), one.scaled(0.3)):
        assert ordered(result)


@given(figures, figures, figures)
def test_a_sum_never_shrinks_by_a_part_and_covers_the_largest(one, other, third):
    two, three = one.plus(other).numbers(), one.plus(other, third).numbers()
    rounding = 1e-12 * three[2]
    for fewer, more in zip(two, three, strict=True):
        assert more >= fewer - rounding
    assert one.plus(other).numbers()[1] >= one.largest(other).numbers()[1]


@given(figures, st.floats(1, 1e3), figures)
def test_a_sum_grows_with_each_part(part, factor, rest):
    before, after = rest.plus(part).numbers(), rest.plus(part.scaled(factor)).numbers()
    rounding = 1e-12 * after[2]
    assert all(a >= b - rounding for b, a in zip(before, after, strict=True))


@given(figures)
def test_json_is_the_protocols_and_comes_back(figure):
    noted = figure.with_note("as measured").with_note("as measured")
    message = from_json(noted.to_json(), pb.CostFigure())
    assert (message.p10, message.p50, message.p90) == figure.numbers()
    assert message.note == "as measured"
    assert Figure.from_json(noted.to_json()) == noted


def test_unknown_in_json():
    told = Figure.unknown("no counter").to_json()
    assert told == {"basis": "COST_BASIS_UNKNOWN", "note": "no counter"}
    assert not from_json(told, pb.CostFigure()).HasField("p50")
    assert Figure.from_json(told) == Figure.unknown("no counter")
    assert Figure.from_json(None) == Figure.from_json({}) == Figure.unknown()


def test_resources_tell_all_ten_figures():
    told = Resources(flops=Figure.exact(5, SPEC)).to_json()
    assert list(told) == list(FIGURES)
    assert told["money_usd"] == {"basis": "COST_BASIS_UNKNOWN"}
    assert Resources.from_json(told) == Resources(flops=Figure.exact(5, SPEC))
    with pytest.raises(KeyError):
        Resources()["seconds"]


def test_a_total_adds_what_follows_and_takes_the_most_of_what_is_held():
    phases = [
        Resources(
            cpu_seconds=Figure.exact(seconds, CALIBRATED),
            peak_memory_bytes=Figure.exact(peak, CALIBRATED),
            disk_bytes=Figure.exact(disk, CALIBRATED),
        )
        for seconds, peak, disk in ((1, 300, 10), (2, 500, 5), (3, 400, 7))
    ]
    whole = total(phases)
    assert whole.cpu_seconds.p50 == 6
    assert whole.peak_memory_bytes.p50 == 500
    assert whole.disk_bytes.p50 == 10
    assert not whole.wall_seconds.known
    assert total([]) == Resources()
    assert total(phases[:1]) == phases[0]


def test_a_note_of_several_parts_is_told_once() -> None:
    size, rate = Figure.unknown("no size"), Figure.unknown("no rate")
    whole = size.plus(rate).plus(size.plus(rate), rate).with_note("no rate")
    assert whole.note == "no size; no rate"
