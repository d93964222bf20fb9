from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from stillroom_registry.errors import Internal
from stillroom_server.classification.training import closed_form
from stillroom_server.classification.training.closed_form import fit_closed_form
from stillroom_server.classification.training.judge import accuracy, macro_f1, merit
from stillroom_server.classification.training.lbfgs import minimize
from stillroom_server.classification.training.losses import Loss, label_weights
from stillroom_server.classification.training.objective import LinearObjective
from stillroom_server.classification.training.problem import Problem
from stillroom_server.inference.classifier.head import NgramArrays


def nothing() -> None:
    """A tick that stops nothing."""


def problem(
    labels: int = 3, *, multi: bool = False, runs: bool = False, loss: Loss | None = None
) -> Problem:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(120, 6)).astype(np.float32)
    truth = rng.normal(size=(6, labels)) * 2
    scores = vectors @ truth + rng.normal(size=(120, labels))
    targets: Any = scores > 0 if multi else scores.argmax(axis=1)
    matrix = arrays = None
    if runs:
        dense = (rng.random((120, 11)) < 0.2).astype(np.float32)
        dense[:, 0] = 0
        matrix = sparse.csr_matrix(dense)
        none = np.zeros(1024, np.int32)
        arrays = NgramArrays(2, 2, none, none, np.zeros((11, 0), np.float32))
    return Problem(vectors, targets, labels, loss or Loss(multi), arrays, matrix)


LOSSES = [
    Loss(False),
    Loss(False, np.array([0.5, 2.0, 1.0], np.float32)),
    Loss(False, gamma=2.0),
    Loss(False, gamma=0.5, smoothing=0.2),
    Loss(False, smoothing=0.3),
    Loss(True),
    Loss(True, np.array([0.5, 20.0, 1.0], np.float32)),
    Loss(True, gamma=1.5, smoothing=0.1),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_losses_derivative_is_its_slope(loss: Loss) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 2, (5, 3)).astype(np.float32)
    targets: Any = rng.random((5, 3)) < 0.5 if loss.multi_label else rng.integers(0, 3, 5)
    _, slope = loss.gradient(scores.copy(), targets)
    step = 1e-2
    for at in np.ndindex(scores.shape):
        ends = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[at] += sign * step
            ends.append(loss.gradient(moved, targets)[0])
        assert slope[at] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-3, rel=1e-2)


def test_losses_stay_finite_where_scores_are_large() -> None:
    for loss in LOSSES:
        scores = np.array([[400.0, -400.0, 0.0]], np.float32)
        targets: Any = np.array([[False, True, True]]) if loss.multi_label else np.array([1])
        value, slope = loss.gradient(scores, targets)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()


def test_focal_loss_without_gamma_is_cross_entropy() -> None:
    scores = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    targets = np.array([0, 1, 2, 0])
    plain = Loss(False).gradient(scores.copy(), targets)
    tiny = Loss(False, gamma=1e-9, smoothing=0.0).gradient(scores.copy(), targets)
    assert plain[0] == pytest.approx(tiny[0], rel=1e-5)
    assert np.allclose(plain[1], tiny[1], atol=1e-6)


def test_weighs_labels_against_each_other() -> None:
    targets = np.array([0, 0, 0, 1])
    weights = label_weights(targets, ("a", "b", "c"), "balanced", None)
    assert weights is not None
    assert weights[1] == pytest.approx(3 * weights[0])
    assert weights[targets].mean() == pytest.approx(1)
    assert label_weights(targets, ("a", "b", "c"), "none", None) is None
    given = label_weights(targets, ("a", "b", "c"), "none", {"b": 3.0})
    assert given is not None
    assert np.allclose(given[:2], weights[:2])
    several = np.array([[True, True, False], [False, True, False]] * 100)
    several[0, 2] = True
    weights = label_weights(several, ("a", "b", "c"), "balanced", None)
    assert weights is not None
    assert weights.tolist() == pytest.approx([1.0, 1e-3, 100.0])


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_finds_the_minimum_that_others_find(multi: bool, runs: bool, plain: bool) -> None:
    given = problem(multi=multi, runs=runs)
    objective = LinearObjective(given, 0.01, nothing)
    start = np.zeros(objective.size, np.float32)
    how = None if plain else objective.precondition
    found = minimize(objective, start, precondition=how, tolerance=1e-9)
    weights, bias = objective.parts(found.theta)
    features = given.vectors
    if given.matrix is not None:
        features = np.concatenate([features, given.matrix.toarray()], axis=1)
    other = LogisticRegression(C=1 / (2 * 0.01 * 120), tol=1e-8, max_iter=5000)
    if multi:
        for label in range(3):
            other.fit(features, given.targets[:, label])
            assert np.allclose(other.coef_[0], weights[:, label], atol=5e-3)
            assert other.intercept_[0] == pytest.approx(bias[label], abs=5e-3)
    else:
        other.fit(features, given.targets)
        # Only differences between labels are told by the data, but the norm centers them.
        assert np.allclose(other.coef_.T, weights, atol=5e-3)
    assert not start.any()


def test_a_preconditioned_search_is_no_longer() -> None:
    given = problem(runs=True)
    stretched = Problem(
        given.vectors * np.array([100, 1, 1, 1, 1, 0.01], np.float32),
        *(given.targets, given.labels, given.loss, given.ngrams, given.matrix),
    )
    objective = LinearObjective(stretched, 1e-4, nothing)
    start = np.zeros(objective.size, np.float32)
    plain = minimize(objective, start, tolerance=1e-7, iterations=2000)
    short = minimize(objective, start, tolerance=1e-7, precondition=objective.precondition)
    assert short.converged
    assert short.iterations < plain.iterations / 2
    assert short.value <= plain.value * 1.01


def test_a_search_ends_when_it_is_told_to() -> None:
    objective = LinearObjective(problem(), 1e-4, nothing)
    start = np.zeros(objective.size, np.float32)
    found = minimize(objective, start, stop=lambda: True)
    assert (found.iterations, found.converged) == (1, False)
    assert found.value < objective(start)[0]


def test_a_loss_that_is_no_number_is_an_error() -> None:
    given = problem()
    given.vectors[3, 2] = np.nan
    objective = LinearObjective(given, 0.01, nothing)
    with pytest.raises(Internal) as failed:
        minimize(objective, np.zeros(objective.size, np.float32))
    assert failed.value.reason == "LOSS_NOT_FINITE"


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("runs", [False, True])
def test_leaves_each_text_out_as_if_fitted_anew(
    multi: bool, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.array([0.5, 2.0, 1.0], np.float32)
    given = problem(multi=multi, runs=runs, loss=Loss(multi, weights))
    told: list[np.ndarray] = []

    def temperature(scores: np.ndarray, _: object) -> float:
        told.append(scores)
        return 1.0

    monkeypatch.setattr(closed_form, "fit_temperature", temperature)
    by_features = fit_closed_form(given, 0.01, nothing)
    monkeypatch.setattr(closed_form, "MOST_TEXTS", 0)
    monkeypatch.setattr(closed_form, "_ROWS", 50)
    again = fit_closed_form(given, 0.01, nothing)
    assert np.allclose(by_features.layers[0][0], again.layers[0][0], atol=1e-5)
    assert np.allclose(told[0], told[1], atol=1e-6)
    # Leave out one text in earnest; the penalty is of the sum, and so stays.
    kept = np.arange(120) != 7
    fewer = Problem(
        given.vectors[kept],
        given.targets[kept],
        *(given.labels, given.loss, given.ngrams),
        None if given.matrix is None else given.matrix[kept],
    )
    head = fit_closed_form(fewer, 0.01 * 120 / 119, nothing)
    scores = given.vectors[7] @ head.layers[0][0] + head.layers[0][1]
    if given.matrix is not None and head.ngrams is not None:
        scores = scores + given.matrix[[7]].toarray()[0] @ head.ngrams.rows
    assert np.allclose(told[0][7], scores, atol=1e-4)


def test_a_closed_form_solves_for_texts_where_they_are_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = problem(runs=True)
    few = Problem(
        given.vectors[:10],
        given.targets[:10],
        *(given.labels, given.loss, given.ngrams, given.matrix[:10]),
    )
    by_texts = fit_closed_form(few, 0.05, nothing)
    monkeypatch.setattr(closed_form, "MOST_TEXTS", 0)
    by_features = fit_closed_form(few, 0.05, nothing)
    assert np.allclose(by_texts.layers[0][0], by_features.layers[0][0], atol=1e-4)
    assert by_texts.ngrams is not None
    assert by_features.ngrams is not None
    assert np.allclose(by_texts.ngrams.rows, by_features.ngrams.rows, atol=1e-4)


def test_judges_as_the_definitions_say() -> None:
    scores = np.array([[2, 1, 0], [0, 2, 1], [0, 2, 1], [3, 0, 0]], np.float32)
    targets = np.array([0, 1, 2, -1])
    assert accuracy(scores, targets) == 0.5
    assert macro_f1(scores, targets) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    several = np.array([[True, False, True], [True, True, False]])
    given = np.array([[1, -1, 1], [1, -1, 1]], np.float32)
    assert accuracy(given, several) == 0.5
    assert macro_f1(given, several) == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert merit(scores[:0], targets[:0]) == (0.0, 0.0, 0.0)
