"""A multi-label report against scikit-learn, and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from classification.report.made import LABELS, multi_label, multi_report
from google.protobuf.json_format import ParseDict
from sklearn import metrics

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_server.classification.report import arrays, confusion
from stillroom_server.classification.report.measure import MULTI_LABEL, measure

TRUE = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
SAID = np.array([[0.2, 0.9, 0.1], [0.4, 0.9, 0.6], [0.1, 0.2, 0.3], [0.1, 0.7, 0.6]])
HALF = [0.5, 0.5, 0.5]
TEXTS = ["t0", "t1", "t2", "t3"]


def test_the_figures_are_those_of_scikit_learn() -> None:
    targets, probabilities, thresholds = multi_label()
    given = probabilities >= thresholds
    report = multi_report()
    assert report["accuracy"] == pytest.approx(metrics.accuracy_score(targets, given), abs=1e-12)
    for average in ("macro", "weighted", "micro"):
        expected = metrics.f1_score(targets, given, average=average)
        assert report[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)
    losses = [metrics.log_loss(targets[:, k], probabilities[:, k]) for k in range(4)]
    assert report["log_loss"] == pytest.approx(np.mean(losses), abs=1e-9)
    brier = metrics.brier_score_loss(targets.ravel(), probabilities.ravel())
    assert report["calibration"]["brier_score"] == pytest.approx(brier, abs=1e-9)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(targets, given)
    for k, entry in enumerate(report["labels"]):
        assert entry["support"] == support[k]
        assert entry["precision"] == pytest.approx(precision[k], abs=1e-12)
        assert entry["recall"] == pytest.approx(recall[k], abs=1e-12)
        assert entry["f1"] == pytest.approx(f1[k], abs=1e-12)
        assert entry["threshold"] == thresholds[k]
        average = metrics.average_precision_score(targets[:, k], probabilities[:, k])
        assert entry["average_precision"] == pytest.approx(average, abs=1e-12)
    assert "confusion" not in report
    found = ParseDict(report, pb.ClassificationReport())
    assert found.task == pb.CLASSIFICATION_TASK_MULTI_LABEL
    assert found.labels[0].HasField("threshold")


def test_a_threshold_is_reached_at_equality() -> None:
    said = np.array([[0.5, 0.25]], dtype=np.float32)
    report = measure(
        ("a", "b"), MULTI_LABEL, np.array([[1, 1]], bool), said, texts=["x"], thresholds=[0.5, 0.25]
    )
    assert report["accuracy"] == 1.0


def test_a_pair_is_a_label_missed_and_one_given_in_its_place() -> None:
    report = measure(
        LABELS[:3], MULTI_LABEL, TRUE, SAID, texts=TEXTS, thresholds=HALF, indices=np.arange(4) + 10
    )
    assert report["confused_pairs"] == [
        {
            "true_label": "bill",
            "given_label": "card",
            "count": 1,
            "share": 0.5,
            "examples": [
                {"text": "t0", "index": 10, "given_probability": 0.9, "true_probability": 0.2}
            ],
        },
        {
            "true_label": "bill",
            "given_label": "loan",
            "count": 1,
            "share": 0.5,
            "examples": [
                {"text": "t1", "index": 11, "given_probability": 0.6, "true_probability": 0.4}
            ],
        },
    ]


def counted_pairs(targets: np.ndarray, given: np.ndarray) -> dict[tuple[int, int], int]:
    counts: dict[tuple[int, int], int] = {}
    for has, got in zip(targets, given, strict=True):
        for missed in np.flatnonzero(has & ~got):
            for wrong in np.flatnonzero(got & ~has):
                counts[missed, wrong] = counts.get((missed, wrong), 0) + 1
    return counts


@pytest.mark.parametrize("most", [confusion._MOST_COUNTS, 14])
def test_pairs_are_counted_in_pieces_and_blocks(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, probabilities, thresholds = multi_label(texts=300, labels=7)
    counts = counted_pairs(targets, probabilities >= thresholds)
    monkeypatch.setattr(confusion, "_MOST_COUNTS", most)
    monkeypatch.setattr(arrays, "_ELEMENTS", 100)
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64))
    expected = sorted(((*pair, c) for pair, c in counts.items()), key=lambda p: (-p[2], p[0], p[1]))
    for limit in (0, 5, 1000):
        found = confusion.multi_label_pairs(
            probabilities, thresholds, targets, nothing, 7, limit, lambda: None
        )
        assert found == expected[:limit]


def test_unknown_labels_count_as_errors() -> None:
    report = measure(
        LABELS[:3],
        MULTI_LABEL,
        TRUE,
        SAID,
        texts=TEXTS,
        thresholds=HALF,
        extra_labels={2: ["zebra"], 3: ["zebra", "yak", "zebra"]},
    )
    assert report["accuracy"] == 0.0  # without them the third text would be right
    assert "log_loss" not in report
    assert [entry["label"] for entry in report["labels"][3:]] == ["yak", "zebra"]
    zebra = report["labels"][4]
    assert (zebra["support"], zebra["false_negatives"], zebra["f1"]) == (2, 2, 0.0)
    assert zebra["average_precision"] == 0.5
    assert "threshold" not in zebra
    pairs = {(pair["true_label"], pair["given_label"]): pair for pair in report["confused_pairs"]}
    assert pairs["zebra", "card"]["share"] == 0.5
    assert pairs["yak", "card"]["examples"][0] == {
        "text": "t3",
        "index": 3,
        "given_probability": 0.7,
        "true_probability": 0.0,
    }
    ParseDict(report, pb.ClassificationReport())


def test_texts_without_any_label_are_measured() -> None:
    none = np.zeros((2, 2), dtype=bool)
    said = np.array([[0.1, 0.2], [0.3, 0.9]])
    report = measure(("a", "b"), MULTI_LABEL, none, said, texts=["x", "y"], thresholds=[0.5, 0.5])
    assert report["accuracy"] == 0.5
    assert report["macro_f1"] == report["weighted_f1"] == report["micro_f1"] == 0.0
    assert "average_precision" not in report["labels"][0]
    assert report["confused_pairs"] == []


def test_confidence_is_that_every_label_is_right() -> None:
    report = measure(
        LABELS[:3], MULTI_LABEL, TRUE, SAID, texts=TEXTS, thresholds=HALF, abstention_threshold=0.4
    )
    # 0.8 * 0.9 * 0.9, 0.6 * 0.9 * 0.6, 0.9 * 0.8 * 0.7, 0.9 * 0.7 * 0.6
    assert report["abstention"]["coverage"] == 0.5
    assert report["abstention"]["accuracy"] == 0.5
    thresholds = [point["threshold"] for point in report["abstention"]["curve"]]
    assert thresholds == pytest.approx([0.0, 0.378, 0.504, 0.648])


def test_thresholds_must_be_there_and_fit() -> None:
    with pytest.raises(ValueError, match="no thresholds"):
        measure(LABELS[:3], MULTI_LABEL, TRUE, SAID, texts=TEXTS)
    with pytest.raises(ValueError, match="2 thresholds, 3 labels"):
        measure(LABELS[:3], MULTI_LABEL, TRUE, SAID, texts=TEXTS, thresholds=[0.5, 0.5])
