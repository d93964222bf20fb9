from __future__ import annotations

import numpy as np
import pytest
from classification.report.made import single_label, single_report

from stillroom_server.classification.report import abstention


def test_what_is_below_the_threshold_is_not_answered() -> None:
    targets, probabilities = single_label()
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    threshold = float(np.sort(sure)[200])
    found = single_report(abstention_threshold=threshold)["abstention"]
    answered = sure >= threshold
    assert found["threshold"] == threshold
    assert found["coverage"] == answered.mean()
    assert found["accuracy"] == right[answered].mean()


def test_the_curve_is_the_choice_that_there_is() -> None:
    targets, probabilities = single_label(texts=5000)
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    points = abstention.curve(sure, right, 5000)
    assert 50 < len(points) <= 101
    thresholds = [point["threshold"] for point in points]
    assert thresholds == sorted(set(thresholds))
    assert points[0] == {"threshold": 0.0, "coverage": 1.0, "accuracy": right.mean()}
    assert thresholds[-1] == sure.max()
    for point in points:
        answered = sure >= point["threshold"]
        assert point["coverage"] == answered.mean()
        assert point["accuracy"] == right[answered].mean()


def test_a_point_a_text_where_texts_are_few() -> None:
    right = np.array([False, True, True])
    points = abstention.curve(np.array([0.5, 0.9, 0.7]), right, 4)
    assert points == [
        {"threshold": 0.0, "coverage": 0.75, "accuracy": pytest.approx(2 / 3)},
        {"threshold": 0.7, "coverage": 0.5, "accuracy": 1.0},
        {"threshold": 0.9, "coverage": 0.25, "accuracy": 1.0},
    ]


def test_texts_without_a_known_token_are_never_answered() -> None:
    silent = np.zeros(500, dtype=bool)
    silent[:100] = True
    found = single_report(silent=silent)
    assert found["example_count"] == 500
    assert found["abstention"]["coverage"] == 0.8
    assert found["abstention"]["curve"][0]["coverage"] == 0.8
    targets, probabilities = single_label()
    right = (probabilities.argmax(axis=1) == targets)[100:]
    assert found["abstention"]["accuracy"] == right.mean()
    assert found["accuracy"] != found["abstention"]["accuracy"]  # all texts count there


def test_there_is_no_accuracy_where_nothing_is_answered() -> None:
    nothing = single_report(silent=np.ones(500, dtype=bool))["abstention"]
    assert nothing == {
        "threshold": 0.0,
        "coverage": 0.0,
        "curve": [{"threshold": 0.0, "coverage": 0.0}],
    }
    assert "accuracy" not in single_report(abstention_threshold=1.0)["abstention"]
