"""Splits: every label keeps its share, nothing is lost, and the seed decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from classification.data.support import refused, tried
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.splits import Folds, Holdout, check_scheme, split

SEEDS = st.integers(0, 2**64 - 1)


def compact(values: Any) -> Any:
    """int64 (n,), every label from 0 up used."""
    return np.unique(np.array(values), return_inverse=True)[1].astype(np.int64)


SINGLE = st.lists(st.integers(0, 6), min_size=2, max_size=80).map(compact)
MULTI = arrays.arrays(
    np.bool_, st.tuples(st.integers(2, 40), st.integers(2, 6)), elements=st.booleans()
)


def can_be_validated(targets: Any) -> Any:
    """bool (n,): not the only example of any label."""
    if targets.ndim == 1:
        return np.bincount(targets)[targets] > 1
    return ~targets[:, targets.sum(axis=0) == 1].any(axis=1)


def table_of(targets: Any) -> Any:
    return targets if targets.ndim == 2 else np.eye(targets.max() + 1, dtype=np.bool_)[targets]


def every_label_is_in(targets: Any, rows: Any) -> bool:
    table = table_of(targets)
    return bool((table[rows].any(axis=0) == table.any(axis=0)).all())


def held(targets: Any, seed: int, share: float, **more: Any) -> Holdout:
    made = split(targets, {"held_out": share, **more}, seed)
    assert isinstance(made, Holdout)
    assert sorted([*made.train, *made.validation]) == list(range(len(targets)))
    assert (np.diff(made.train) > 0).all()
    assert (np.diff(made.validation) > 0).all()
    return made


def folded(targets: Any, seed: int, folds: int, **more: Any) -> Folds:
    made = split(targets, {"folds": folds, **more}, seed)
    assert isinstance(made, Folds)
    assert len(made.folds) == folds
    together = np.concatenate(made.folds)
    assert len(np.unique(together)) == len(together)
    for number, fold in enumerate(made.folds):
        assert len(fold)
        assert (np.diff(fold) > 0).all()
        assert sorted([*fold, *made.train(number)]) == list(range(len(targets)))
    return made


@settings(deadline=None)
@given(SINGLE, SEEDS, st.floats(0.01, 0.5))
def test_each_label_keeps_its_share_of_what_is_held_out(
    targets: Any, seed: int, share: float
) -> None:
    eligible = can_be_validated(targets)
    assume(eligible.any())
    made = held(targets, seed, share)
    assert every_label_is_in(targets, made.train)
    assert eligible[made.validation].all()
    counts = np.where(np.bincount(targets) > 1, np.bincount(targets), 0)
    got = np.bincount(targets[made.validation], minlength=len(counts))
    assert (np.abs(got - share * counts) < 1).all() or got.sum() == 1
    assert abs(got.sum() - max(1, share * eligible.sum())) <= 0.5 + 1e-9


@settings(deadline=None)
@given(SINGLE, SEEDS, st.integers(2, 20))
def test_each_label_is_dealt_to_all_folds_alike(targets: Any, seed: int, folds: int) -> None:
    eligible = can_be_validated(targets)
    assume(eligible.sum() >= 2)
    folds = min(folds, int(eligible.sum()))
    made = folded(targets, seed, folds)
    assert sorted(np.concatenate(made.folds)) == np.flatnonzero(eligible).tolist()
    sizes = [len(fold) for fold in made.folds]
    assert max(sizes) - min(sizes) <= 1
    labels = np.arange(targets.max() + 1)
    per_fold = np.array([(targets[fold][:, None] == labels).sum(axis=0) for fold in made.folds])
    assert (per_fold.max(axis=0) - per_fold.min(axis=0) <= 1).all()
    for number in range(folds):
        assert every_label_is_in(targets, made.train(number))


@settings(deadline=None)
@given(MULTI, SEEDS, st.floats(0.01, 0.5))
def test_several_labels_are_all_trained_on(targets: Any, seed: int, share: float) -> None:
    assume(can_be_validated(targets).any())
    made = held(targets, seed, share)
    assert len(made.validation)
    assert every_label_is_in(targets, made.train)
    assert can_be_validated(targets)[made.validation].all()


@settings(deadline=None)
@given(MULTI, SEEDS)
def test_several_labels_are_trained_on_in_each_fold(targets: Any, seed: int) -> None:
    assume(can_be_validated(targets).any())
    made = tried(lambda: folded(targets, seed, 3))
    if isinstance(made, InvalidArgument):
        assert made.reason == "TOO_FEW_EXAMPLES"
        return
    for number in range(3):
        assert every_label_is_in(targets, made.train(number))
    assert can_be_validated(targets)[np.concatenate(made.folds)].all()


def test_several_labels_keep_their_shares() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((4000, 12)) < np.linspace(0.005, 0.6, 12)
    made = held(targets, 5, 0.2)
    assert abs(len(made.validation) - 800) <= 8
    wanted = targets.sum(axis=0)
    assert (np.abs(targets[made.validation].sum(axis=0) - 0.2 * wanted) <= 0.02 * wanted + 1).all()
    for fold in folded(targets, 5, 5).folds:
        assert (np.abs(targets[fold].sum(axis=0) - 0.2 * wanted) <= 0.02 * wanted + 2).all()


def test_chance_does_worse_with_rare_labels_than_stratifying() -> None:
    """What iterative stratification is for (Sechidis et al. 2011)."""
    rng = np.random.default_rng(1)
    targets = rng.random((1000, 30)) < 0.01
    wanted = 0.1 * targets.sum(axis=0)

    def error(**more: Any) -> float:
        parts = [fold for seed in range(3) for fold in folded(targets, seed, 10, **more).folds]
        return float(np.mean([np.abs(targets[fold].sum(axis=0) - wanted) for fold in parts]))

    assert error() < 0.7 * error(unstratified=True)


@settings(deadline=None)
@given(st.one_of(SINGLE, MULTI), SEEDS, st.integers(0, 3), st.booleans())
def test_the_seed_decides(targets: Any, seed: int, which: int, unstratified: bool) -> None:
    schemes: tuple[dict[str, Any], ...] = ({"held_out": 0.3}, {"folds": 2}, {}, {"folds": 5})
    scheme = {**schemes[which], "unstratified": unstratified}

    def parts() -> Any:
        try:
            made = split(targets.copy(), scheme, seed)
        except InvalidArgument as error:
            return error.reason
        if isinstance(made, Holdout):
            return [made.train.tolist(), made.validation.tolist()]
        return [fold.tolist() for fold in made.folds]

    assert parts() == parts()


def test_another_seed_gives_another_split() -> None:
    targets = np.arange(400) % 4
    splits = {tuple(held(targets, seed, 0.2).validation.tolist()) for seed in range(8)}
    assert len(splits) == 8
    table = table_of(targets)
    splits = {tuple(held(table, seed, 0.2).validation.tolist()) for seed in range(8)}
    assert len(splits) == 8


@pytest.mark.parametrize(
    ("count", "labels", "expected"),
    [
        (16, 2, 5),  # folds
        (77 * 8, 77, 5),
        (1999, 2, 5),
        (2000, 101, 5),
        (2000, 2, 400),  # held out
        (2000, 100, 400),
        (5452, 6, 545),
        (10_003, 77, 1000),
        (300_000, 10, 10_000),
    ],
)
def test_the_choice_goes_by_the_number_of_examples(count: int, labels: int, expected: int) -> None:
    targets = np.arange(count) % labels
    made = split(targets, None, 0)
    if isinstance(made, Folds):
        assert len(made.folds) == expected
    else:
        assert len(made.validation) == expected
    table = split(table_of(targets[:3000]), {}, 0)
    assert isinstance(table, Folds) == (count < 2000 or 20 * labels > min(count, 3000))


def test_few_examples_are_folded_as_far_as_they_go() -> None:
    made = split(np.array([0, 0, 1]), {}, 0)
    assert isinstance(made, Folds)
    assert sorted(np.concatenate(made.folds).tolist()) == [0, 1]
    assert made.train(0).tolist() in ([1, 2], [0, 2])


def test_without_regard_to_labels() -> None:
    targets = np.array([0] * 19 + [1])
    made = held(targets, 3, 0.25, unstratified=True)
    assert len(made.validation) == 5
    assert [len(fold) for fold in folded(targets, 3, 6, unstratified=True).folds] == [
        *([4] * 2),
        *([3] * 4),
    ]


@pytest.mark.parametrize(
    ("targets", "scheme", "field"),
    [
        ([0, 1, 2], {}, "validation_split"),
        ([0, 1, 2], {"held_out": 0.5}, "validation_split"),
        ([0, 0, 1, 1], {"folds": 5}, "validation_split.folds"),
        ([0, 0, 1, 2, 3], {"folds": 3}, "validation_split.folds"),
        ([0, 0, 0], {"folds": 4, "unstratified": True}, "validation_split.folds"),
    ],
)
def test_too_few_examples_are_refused(targets: Any, scheme: Any, field: str) -> None:
    error = refused("TOO_FEW_EXAMPLES", lambda: split(np.array(targets), scheme, 0))
    assert (type(error), error.field) == (InvalidArgument, field)


@pytest.mark.parametrize(
    ("scheme", "field"),
    [
        ({"held_out": 0.0}, "validation_split.held_out"),
        ({"held_out": 0.51}, "validation_split.held_out"),
        ({"held_out": "NaN"}, "validation_split.held_out"),
        ({"held_out": float("nan")}, "validation_split.held_out"),
        ({"folds": 1}, "validation_split.folds"),
        ({"folds": 21}, "validation_split.folds"),
        ({"folds": True}, "validation_split.folds"),
        ({"folds": 5, "held_out": 0.1}, "validation_split.folds"),
        ({"unstratified": 1}, "validation_split.unstratified"),
        ({"share": 0.1}, "validation_split"),
        ([], "validation_split"),
    ],
)
def test_a_scheme_that_makes_no_sense_is_refused(scheme: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_scheme(scheme)
    assert caught.value.field == field


def test_many_examples_take_little_time() -> None:
    targets = np.random.default_rng(0).integers(0, 1000, 1_000_000)
    made = split(targets, {"held_out": 0.1}, 0)
    assert isinstance(made, Holdout)
    assert abs(len(made.validation) - 100_000) <= 1
