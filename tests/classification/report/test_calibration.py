from __future__ import annotations

import numpy as np
import pytest
from classification.report.made import (
    LABELS,
    multi_label,
    multi_report,
    single_label,
    single_report,
    words,
)

from stillroom_server.classification.report.calibration import Reliability
from stillroom_server.classification.report.measure import MULTI_LABEL, SINGLE_LABEL, measure


def by_hand(said: np.ndarray, right: np.ndarray, bins: int) -> tuple[float, float, list[int]]:
    gaps, counts = [], []
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        inside = (said >= low) & ((said < high) | (index == bins - 1))
        counts.append(int(inside.sum()))
        gaps.append(abs(right[inside].mean() - said[inside].mean()) if inside.any() else 0.0)
    return float(np.dot(gaps, counts) / len(said)), max(gaps), counts


@pytest.mark.parametrize("bins", [2, 15, 100])
def test_single_label_looks_at_the_best_label(bins: int) -> None:
    targets, probabilities = single_label()
    report = single_report(options={"calibration_bins": bins})["calibration"]
    best = probabilities.argmax(axis=1)
    expected, largest, counts = by_hand(probabilities.max(axis=1), best == targets, bins)
    assert report["expected_calibration_error"] == pytest.approx(expected, abs=1e-12)
    assert report["maximum_calibration_error"] == pytest.approx(largest, abs=1e-12)
    assert [entry["count"] for entry in report["bins"]] == counts
    assert report["bins"][0]["lower"] == 0.0
    assert report["bins"][-1]["upper"] == 1.0
    assert report["fitted_here"] is False
    assert "uncalibrated_error" not in report


def test_multi_label_looks_at_every_label() -> None:
    targets, probabilities, _ = multi_label()
    report = multi_report()["calibration"]
    expected, largest, counts = by_hand(probabilities.ravel(), targets.ravel(), 15)
    assert report["expected_calibration_error"] == pytest.approx(expected, abs=1e-12)
    assert report["maximum_calibration_error"] == pytest.approx(largest, abs=1e-12)
    assert [entry["count"] for entry in report["bins"]] == counts


def test_what_it_was_before_is_measured_alike() -> None:
    _, probabilities = single_label(seed=4)
    report = single_report(uncalibrated=probabilities, fitted_here=True)["calibration"]
    own, _ = single_label()
    other = measure(LABELS, SINGLE_LABEL, own, probabilities, texts=words(500))["calibration"]
    assert report["uncalibrated_error"] == other["expected_calibration_error"]
    assert report["uncalibrated_error"] != report["expected_calibration_error"]
    assert report["fitted_here"] is True
    _, probabilities, thresholds = multi_label(seed=4)
    report = multi_report(uncalibrated=probabilities)["calibration"]
    own = multi_label()[0]
    other = measure(
        LABELS, MULTI_LABEL, own, probabilities, texts=words(500), thresholds=thresholds
    )["calibration"]
    assert report["uncalibrated_error"] == other["expected_calibration_error"]


def test_edges_belong_to_the_bin_above_and_one_to_the_last() -> None:
    found = Reliability(10)
    edges = np.arange(11) / 10
    found.add(edges, np.ones(11, dtype=bool))
    assert [entry["count"] for entry in found.to_json()] == [1] * 9 + [2]
    for entry in found.to_json():
        assert entry["lower"] <= entry["mean_confidence"]
    below = Reliability(10)
    below.add(np.nextafter(edges[1:], 0.0), np.zeros(10, dtype=bool))
    assert [entry["count"] for entry in below.to_json()] == [1] * 10


def test_empty_bins_are_there_and_hold_zeros() -> None:
    found = Reliability(4)
    found.add(np.array([0.9, 0.8]), np.array([True, False]))
    empty = {"lower": 0.0, "upper": 0.25, "count": 0, "mean_confidence": 0.0, "accuracy": 0.0}
    assert found.to_json()[0] == empty
    assert found.errors() == (pytest.approx(0.35), pytest.approx(0.35))
