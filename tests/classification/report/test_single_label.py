"""A single-label report against scikit-learn, and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from classification.report.made import LABELS, single_label, single_report, words
from google.protobuf.json_format import ParseDict
from sklearn import metrics

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_server.classification.report.measure import SINGLE_LABEL, measure
from stillroom_server.classification.report.unknown import unknown_labels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_figures_are_those_of_scikit_learn(dtype: type) -> None:
    targets, probabilities = single_label(dtype=dtype)
    report = measure(LABELS, SINGLE_LABEL, targets, probabilities, texts=words(len(targets)))
    given = probabilities.argmax(axis=1)
    exact = probabilities.astype(np.float64)
    assert report["example_count"] == 500
    assert report["accuracy"] == pytest.approx(metrics.accuracy_score(targets, given), abs=1e-12)
    assert report["micro_f1"] == pytest.approx(report["accuracy"], abs=1e-12)
    for average in ("macro", "weighted"):
        expected = metrics.f1_score(targets, given, average=average)
        assert report[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)
    own = exact[np.arange(len(targets)), targets]
    assert report["log_loss"] == pytest.approx(-np.log(own).mean(), abs=1e-12)
    if dtype is np.float64:
        assert report["log_loss"] == pytest.approx(metrics.log_loss(targets, exact), abs=1e-9)
        brier = metrics.brier_score_loss(targets, exact, scale_by_half=False)
        assert report["calibration"]["brier_score"] == pytest.approx(brier, abs=1e-9)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(targets, given)
    for index, entry in enumerate(report["labels"]):
        assert entry["label"] == LABELS[index]
        assert entry["support"] == support[index]
        assert entry["precision"] == pytest.approx(precision[index], abs=1e-12)
        assert entry["recall"] == pytest.approx(recall[index], abs=1e-12)
        assert entry["f1"] == pytest.approx(f1[index], abs=1e-12)
        average = metrics.average_precision_score(targets == index, probabilities[:, index])
        assert entry["average_precision"] == pytest.approx(average, abs=1e-12)
        assert "threshold" not in entry
    matrix = np.zeros((4, 4), dtype=int)
    for cell in report["confusion"]["cells"]:
        matrix[cell["true_index"], cell["given_index"]] = cell["count"]
    assert np.array_equal(matrix, metrics.confusion_matrix(targets, given))
    assert report["confusion"]["labels"] == list(LABELS)
    assert report["confusion"]["omitted_count"] == 0


def test_it_is_a_report_of_the_protocol() -> None:
    found = ParseDict(single_report(), pb.ClassificationReport())
    assert found.task == pb.CLASSIFICATION_TASK_SINGLE_LABEL
    assert found.labels[3].label == "rate"
    assert found.HasField("log_loss")
    assert found.HasField("confusion")


def test_ties_go_to_the_first_label() -> None:
    even = np.full((2, 2), 0.5)
    report = measure(("a", "b"), SINGLE_LABEL, np.array([0, 1]), even, texts=["x", "y"])
    assert report["accuracy"] == 0.5
    assert [entry["true_positives"] for entry in report["labels"]] == [1, 0]


def test_figures_that_there_are_not_are_absent() -> None:
    sure = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.9, 0.05, 0.05]])
    report = measure(("a", "b", "c"), SINGLE_LABEL, np.array([0, 0, 1]), sure, texts=["x"] * 3)
    first, second, third = report["labels"]
    assert first["f1"] == pytest.approx(0.8)
    assert "precision" not in second
    assert second["recall"] == 0.0
    assert second["f1"] == 0.0
    assert not {"precision", "recall", "f1", "average_precision"} & set(third)
    assert third["support"] == 0
    assert report["macro_f1"] == pytest.approx(0.4)  # the third occurs nowhere
    alone = measure(("a", "b"), SINGLE_LABEL, np.zeros(3, int), sure[:, :2], texts=["x"] * 3)
    assert "average_precision" not in alone["labels"][0]  # every text has it


def test_unknown_labels_count_as_errors() -> None:
    names = [("a",), ("zebra",), ("b",), ("yak",), ("zebra",)]
    extra = unknown_labels(names, ("a", "b"))
    assert extra == {1: ["zebra"], 3: ["yak"], 4: ["zebra"]}
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.8, 0.2]])
    report = measure(
        ("a", "b"),
        SINGLE_LABEL,
        np.array([0, -1, 1, -1, -1]),
        probabilities,
        texts=["t0", "t1", "t2", "t3", "t4"],
        extra_labels=extra,
    )
    assert report["accuracy"] == report["micro_f1"] == 0.4
    assert "log_loss" not in report
    assert [entry["label"] for entry in report["labels"]] == ["a", "b", "yak", "zebra"]
    assert [entry["support"] for entry in report["labels"]] == [1, 1, 1, 2]
    assert report["labels"][3] == {
        "label": "zebra",
        "support": 2,
        "true_positives": 0,
        "false_positives": 0,
        "false_negatives": 2,
        "recall": 0.0,
        "f1": 0.0,
        "average_precision": 0.4,
    }
    assert report["macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0 + 0) / 4)
    assert report["confused_pairs"][0] == {
        "true_label": "zebra",
        "given_label": "a",
        "count": 2,
        "share": 1.0,
        "examples": [
            {"text": "t4", "index": 4, "given_probability": 0.8, "true_probability": 0.0},
            {"text": "t1", "index": 1, "given_probability": 0.7, "true_probability": 0.0},
        ],
    }
    squares = (probabilities**2).sum() - 2 * (0.9 + 0.8) + 5
    assert report["calibration"]["brier_score"] == pytest.approx(squares / 5)
    ParseDict(report, pb.ClassificationReport())


def test_a_probability_of_zero_keeps_the_loss_finite() -> None:
    certain = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    report = measure(("a", "b"), SINGLE_LABEL, np.array([0, 1]), certain, texts=["x", "y"])
    assert report["log_loss"] == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2)
    assert report["calibration"]["brier_score"] == 1.0


@pytest.mark.parametrize(
    ("targets", "extra"),
    [([0, -1], {}), ([0, -1], {0: ["x"]}), ([0, -1], {1: ["x", "y"]}), ([0, 2], {}), ([0], {})],
)
def test_targets_and_extra_labels_must_fit(targets: list[int], extra: dict) -> None:
    with pytest.raises(ValueError, match=r"targets|each text"):
        measure(
            ("a", "b"),
            SINGLE_LABEL,
            np.array(targets),
            np.full((2, 2), 0.5),
            texts=["x", "y"],
            extra_labels=extra,
        )
