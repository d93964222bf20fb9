"""Bounds, pieces, cancellation, and input that is none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from classification.report.made import (
    LABELS,
    multi_report,
    single_label,
    single_report,
    words,
)

from stillroom_registry.errors import Cancelled, Internal, InvalidArgument
from stillroom_server.classification.report import arrays, confusion
from stillroom_server.classification.report.measure import MULTI_LABEL, SINGLE_LABEL, measure
from stillroom_server.classification.report.options import ReportOptions


def test_pieces_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    uncut = single_report(), multi_report()
    monkeypatch.setattr(arrays, "_ELEMENTS", 64)
    for found, expected in zip((single_report(), multi_report()), uncut, strict=True):
        assert found["labels"] == expected["labels"]
        assert found["confused_pairs"] == expected["confused_pairs"]
        assert found.get("confusion") == expected.get("confusion")
        assert found["abstention"] == expected["abstention"]
        for key in ("accuracy", "macro_f1", "weighted_f1", "micro_f1", "log_loss"):
            assert found[key] == pytest.approx(expected[key], abs=1e-12)
        for key in ("expected_calibration_error", "maximum_calibration_error", "brier_score"):
            assert found["calibration"][key] == pytest.approx(
                expected["calibration"][key], abs=1e-12
            )


def test_the_smallest_cells_are_left_out_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = single_report()["confusion"]
    assert len(whole["cells"]) == 16
    monkeypatch.setattr(confusion, "MOST_CELLS", 6)
    found = single_report()["confusion"]
    counts = sorted((cell["count"] for cell in whole["cells"]), reverse=True)
    assert sorted((cell["count"] for cell in found["cells"]), reverse=True) == counts[:6]
    assert found["omitted_count"] == sum(counts[6:])
    places = [(cell["true_index"], cell["given_index"]) for cell in found["cells"]]
    assert places == sorted(places)


def test_a_hundred_thousand_cells_are_all_there() -> None:
    labels = 400
    true, given = np.divmod(np.arange(labels * labels), labels)
    codes, counts = confusion.cells(true, given, labels)
    found = confusion.matrix(codes, counts, [str(k) for k in range(labels)])
    assert len(found["cells"]) == 100_000
    assert found["omitted_count"] == 60_000


def test_pairs_and_examples_are_as_many_as_asked_for() -> None:
    report = single_report()
    assert len(report["confused_pairs"]) == 10
    counts = [pair["count"] for pair in report["confused_pairs"]]
    assert counts == sorted(counts, reverse=True)
    for pair in report["confused_pairs"]:
        assert len(pair["examples"]) == 3
        sure = [example["given_probability"] for example in pair["examples"]]
        assert sure == sorted(sure, reverse=True)
        label = LABELS.index(pair["true_label"])
        assert pair["share"] == pair["count"] / report["labels"][label]["support"]
    assert len(single_report(options={"confused_pairs": 1000})["confused_pairs"]) == 12
    assert single_report(options={"confused_pairs": 0})["confused_pairs"] == []
    bare = single_report(options=ReportOptions(examples_per_pair=0))
    assert all(pair["examples"] == [] for pair in bare["confused_pairs"])
    targets, probabilities = single_label()
    many = single_report(options={"examples_per_pair": 100})["confused_pairs"][0]
    assert len(many["examples"]) == many["count"]
    for example in many["examples"]:
        row = example["index"]
        assert LABELS[targets[row]] == many["true_label"]
        assert LABELS[probabilities[row].argmax()] == many["given_label"]
        assert example["true_probability"] == probabilities[row, targets[row]]


def test_texts_are_cut_and_their_places_are_those_of_the_data() -> None:
    report = measure(
        ("a", "b"),
        SINGLE_LABEL,
        np.array([1]),
        np.array([[0.75, 0.25]]),
        texts=["\u00e9" * 501],
        indices=np.array([41]),
    )
    example = report["confused_pairs"][0]["examples"][0]
    assert example["text"] == "\u00e9" * 500
    assert example["index"] == 41


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"confused_pairs": 1001}, "confused_pairs"),
        ({"confused_pairs": -1}, "confused_pairs"),
        ({"examples_per_pair": 101}, "examples_per_pair"),
        ({"examples_per_pair": "3"}, "examples_per_pair"),
        ({"calibration_bins": 1}, "calibration_bins"),
        ({"calibration_bins": 101}, "calibration_bins"),
        ({"include_html": 1}, "include_html"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        ReportOptions.from_json(options)
    assert refused.value.field == f"report_options.{field}"


def test_options_have_the_defaults_of_the_protocol() -> None:
    assert ReportOptions.from_json(None) == ReportOptions(10, 3, 15, False)
    assert ReportOptions.from_json({"calibration_bins": 0, "include_html": True}).include_html
    with pytest.raises(InvalidArgument, match=r"report\.html") as refused:
        ReportOptions.from_json({"include_html": True}, path="o", training=True)
    assert refused.value.field == "o.include_html"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    targets, probabilities = single_label(dtype=np.float32)
    probabilities[7, 2] = bad
    with pytest.raises(Internal) as refused:
        measure(LABELS, SINGLE_LABEL, targets, probabilities, texts=words(500))
    assert refused.value.reason == "PROBABILITIES_INVALID"


def test_shapes_must_fit() -> None:
    targets, probabilities = single_label()
    with pytest.raises(Internal, match="499 texts and 4 labels"):
        measure(LABELS, SINGLE_LABEL, targets, probabilities, texts=words(499))
    with pytest.raises(InvalidArgument) as refused:
        measure(LABELS, SINGLE_LABEL, targets[:0], probabilities[:0], texts=[])
    assert refused.value.reason == "NO_DATA"
    with pytest.raises(ValueError, match="no task"):
        measure(LABELS, "SINGLE_LABEL", targets, probabilities, texts=words(500))


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_measuring_can_be_cancelled(task: str) -> None:
    def cancel() -> None:
        raise Cancelled("asked")

    with pytest.raises(Cancelled):
        (single_report if task == SINGLE_LABEL else multi_report)(between=cancel)


def test_memory_stays_bounded_beside_the_probabilities() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((200_000, 50), dtype=np.float32)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets = random.integers(0, 50, 200_000)
    texts = ["one and the same"] * 200_000
    tracemalloc.start()
    try:
        measure([str(k) for k in range(50)], SINGLE_LABEL, targets, probabilities, texts=texts)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * probabilities.nbytes  # 40 MB; ten copies in float64 would be 800
