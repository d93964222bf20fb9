from __future__ import annotations

import numpy as np
import pytest

from stillroom_server.classification.calibration.abstention import choose_abstention
from stillroom_server.classification.calibration.calibrate import calibrate
from stillroom_server.classification.calibration.temperature import fit_temperature, log_loss
from stillroom_server.classification.calibration.thresholds import choose_thresholds
from stillroom_server.classification.option_parts import Rule
from stillroom_server.classification.options import ClassifierOptions


def drawn(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels as often as the scores say."""
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    return (likely.cumsum(axis=1) < rng.random((len(scores), 1))).sum(axis=1)


@pytest.mark.parametrize("factor", [0.02, 0.5, 1.0, 7.0, 300.0])
def test_finds_the_temperature_that_scores_were_multiplied_by(factor: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, (20_000, 5))
    targets = drawn(scores, rng)
    found = fit_temperature(scores * factor, targets)
    assert found == pytest.approx(factor, rel=0.04)
    best = log_loss(scores * factor, targets, found)
    for other in (0.97, 1.03):
        assert log_loss(scores * factor, targets, found * other) > best


def test_finds_it_for_several_labels_too() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 2, (20_000, 3))
    targets = rng.random(scores.shape) < 1 / (1 + np.exp(-scores))
    assert fit_temperature(scores * 4, targets) == pytest.approx(4, rel=0.05)
    # by hand
    hand = -np.mean(np.log(np.where(targets, 1, 0) - (2.0 * targets - 1) / (1 + np.exp(scores))))
    assert log_loss(scores, targets) == pytest.approx(hand)


def test_few_right_answers_make_none_certain() -> None:
    sure = np.array([[5.0, 0.0], [0.0, 5.0]])
    likely = 1 / (1 + np.exp(-5.0 / fit_temperature(sure, np.array([0, 1]))))
    assert likely == pytest.approx(1 - 1 / 8)
    many = np.repeat(sure, 500, axis=0)
    likely = 1 / (1 + np.exp(-5.0 / fit_temperature(many, np.repeat([0, 1], 500))))
    assert likely == pytest.approx(1 - 1 / 2004)


def test_bounds_what_has_no_best_temperature() -> None:
    sure = np.array([[5.0, 0.0], [0.0, 5.0]])
    assert fit_temperature(sure, np.array([1, 0])) == pytest.approx(1e3, rel=0.01)
    assert fit_temperature(np.zeros((4, 2)), np.array([0, 1, 0, 1])) > 0
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, np.int64)) == 1.0
    assert fit_temperature(sure, np.array([-1, -1])) == 1.0


def test_unknown_labels_do_not_count() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 1, (100, 3))
    targets = drawn(scores, rng)
    more = np.concatenate([scores, rng.normal(0, 9, (50, 3))])
    unknown = np.concatenate([targets, np.full(50, -1)])
    assert fit_temperature(more, unknown) == fit_temperature(scores, targets)


def brute_f1(likely: np.ndarray, truth: np.ndarray) -> float:
    return max(
        2 * (truth & (likely >= at)).sum() / ((likely >= at).sum() + truth.sum()) for at in likely
    )


def test_thresholds_have_the_best_f1() -> None:
    rng = np.random.default_rng(3)
    likely = rng.random((300, 4)).round(2)
    truth = rng.random((300, 4)) < likely**2
    found = choose_thresholds(likely, truth, None)
    assert found.shared == ()
    for label in range(4):
        given = likely[:, label] >= found.values[label]
        f1 = 2 * (truth[:, label] & given).sum() / (given.sum() + truth[:, label].sum())
        assert f1 == pytest.approx(brute_f1(likely[:, label], truth[:, label]))


def test_thresholds_follow_rules() -> None:
    rng = np.random.default_rng(4)
    likely = rng.random((400, 1))
    truth = rng.random((400, 1)) < likely
    assert choose_thresholds(likely, truth, Rule("fixed", 0.3)).values.tolist() == [0.3]

    def precision(at: float) -> float:
        return float(truth[likely >= at].mean())

    at = float(choose_thresholds(likely, truth, Rule("minimum_precision", 0.8)).values[0])
    assert precision(at) >= 0.8
    lower = np.sort(likely[likely < at])[::-1]
    assert all(precision(value) < 0.8 for value in lower[:50])
    at = float(choose_thresholds(likely, truth, Rule("minimum_recall", 0.9)).values[0])
    assert truth[likely >= at].sum() / truth.sum() >= 0.9
    above = likely[likely >= at].min()
    assert truth[likely > above].sum() / truth.sum() < 0.9


def test_rare_labels_share_a_threshold() -> None:
    rng = np.random.default_rng(5)
    likely = rng.random((50, 3))
    truth = rng.random((50, 3)) < likely
    truth[:, 1] = False
    truth[:4, 1] = True
    found = choose_thresholds(likely, truth, None)
    assert found.shared == (1,)
    together = choose_thresholds(likely.reshape(-1, 1), truth.reshape(-1, 1), None).values[0]
    assert found.values[1] == together


def test_abstains_from_what_is_mostly_wrong() -> None:
    rng = np.random.default_rng(6)
    sure = rng.random(2000)
    right = rng.random(2000) < sure
    at = choose_abstention(sure, right, None)
    error, rest = 1 - right.mean(), 1 - right[sure >= at].mean()
    assert rest <= error / 2 + 1e-9
    for lower in np.sort(sure[sure < at])[::-1][:100]:
        assert 1 - right[sure >= lower].mean() > error / 2
    at = choose_abstention(sure, right, Rule("target_coverage", 0.7))
    assert (sure >= at).mean() == pytest.approx(0.7, abs=1e-3)
    at = choose_abstention(sure, right, Rule("target_accuracy", 0.9))
    assert right[sure >= at].mean() >= 0.9
    assert choose_abstention(sure, right, Rule("threshold", 0.4)) == 0.4
    assert choose_abstention(sure, np.ones(2000, np.bool_), None) == 0.0
    assert choose_abstention(np.zeros(0), np.zeros(0, np.bool_), None) == 0.0


def test_calibrates_nothing_without_texts() -> None:
    none = np.zeros((0, 3), np.float32)
    found = calibrate(none, np.zeros(0, np.int64), ClassifierOptions())
    assert (found.temperature, found.abstention_threshold) == (1.0, 0.0)
    multi = ClassifierOptions(task="multi_label")
    found = calibrate(none, np.zeros((0, 3), np.bool_), multi)
    assert found.thresholds.values.tolist() == [0.5] * 3
