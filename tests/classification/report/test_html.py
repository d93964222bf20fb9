from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from classification.report.made import LABELS, multi_report, single_report, words
from google.protobuf.json_format import MessageToDict, ParseDict

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_server.classification.report import svg
from stillroom_server.classification.report.html import MOST_BYTES, to_html
from stillroom_server.classification.report.measure import MULTI_LABEL, SINGLE_LABEL, measure

DATA = {
    "example_count": 600,
    "training_count": 480,
    "validation_count": 120,
    "validation_source": "VALIDATION_SOURCE_FOLDS",
    "folds": 5,
    "digest": "sha256:" + "a" * 64,
    "issues": [
        {"kind": "DATA_ISSUE_KIND_RARE_LABEL", "count": 2, "labels": ["loan", "rate"]},
        {"kind": "DATA_ISSUE_KIND_EMPTY_TEXT", "count": 12, "examples": list(range(10))},
    ],
}
TRAINING = {
    "candidates": [
        {
            "options": {"linear": {"solver": "LINEAR_SOLVER_LBFGS"}, "seed": 1},
            "accuracy": 0.75,
            "macro_f1": 0.5,
            "log_loss": 1.25,
            "seconds": 4321.5,
        },
        {
            "options": {"mlp": {"hidden_sizes": [64, 32]}, "seed": 1},
            "accuracy": 0.875,
            "macro_f1": 0.625,
            "log_loss": 0.75,
            "chosen": True,
        },
    ],
    "epochs": [
        {
            "epoch": k,
            "training_loss": 2.0 / k,
            "validation_loss": 2.5 / k,
            "validation_accuracy": 1.0 - 0.5 / k,
            "elapsed_seconds": 77.125 * k,
        }
        for k in range(1, 8)
    ],
    "best_epoch": 5,
    "end": "TRAINING_END_EARLY_STOPPED",
    "seconds": {"train": 98.7654},
}
ABOUT = {
    "encoder_version": "models/small/versions/3",
    "temperature": 1.25,
    "options": {"seed": "7", "ngrams": {"mode": "NGRAM_MODE_ON", "max_n": 3}},
}
EMPTY = {"area", "br", "hr", "img", "input", "link", "meta"}


def later(training: dict[str, Any]) -> dict[str, Any]:
    """The same training on a slower machine."""
    slow = {**training, "seconds": {"train": 1.5, "encode": 7.25}}
    slow["candidates"] = [{**entry, "seconds": 3.5} for entry in training["candidates"]]
    slow["epochs"] = [{**entry, "elapsed_seconds": 8.75} for entry in training["epochs"]]
    return slow


class Reader(HTMLParser):
    """Text and elements of a page; fails where they do not close as they opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.said.append(data.strip())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def drawings(page: str) -> list[ElementTree.Element]:
    """The plots, parsed as XML, which is stricter than HTML."""
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.S)]


def named(page: str) -> list[str]:
    return [drawing.attrib["aria-label"].split(":")[0].rstrip(".") for drawing in drawings(page)]


def test_the_page_shows_the_report_with_plots() -> None:
    report = single_report(abstention_threshold=0.4)
    page = to_html(report, DATA, TRAINING, ABOUT, name="banking")
    reader = Reader(page)
    assert named(page) == [
        "Reliability curve",
        "Abstention curve",
        "F1 of each label",
        "Confusion matrix",
        "Training curve",
        "Training curve",
    ]
    said = " ".join(reader.said)
    accuracy = f"{report['accuracy']:.1%}".replace("%", " %")
    for words_ in (
        "banking",
        "Measured on 500 texts of 5 folds",
        accuracy,
        f"{report['macro_f1']:.4f}",
        f"{report['calibration']['expected_calibration_error']:.4f}",
        "Below a confidence of 0.4 it abstains",
        "2 labels with too few examples to validate: loan, rate.",
        "12 empty texts: examples 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and more.",
        "mlp.hidden_sizes: 64, 32",
        "models/small/versions/3",
        "NGRAM_MODE_ON",
        report["confused_pairs"][0]["examples"][0]["text"],
    ):
        assert words_ in said
    for label in LABELS:
        assert label in reader.said


def test_the_page_needs_nothing_else_and_suits_light_and_dark() -> None:
    page = to_html(single_report(), DATA, TRAINING, ABOUT)
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "a"} & {tag for tag, _ in reader.found}
    for tag, attributes in reader.found:
        assert not {"src", "href", "xlink:href", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
    policy = [a["content"] for t, a in reader.found if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    # No drawing has a color of its own: all are the style's, which changes with the scheme.
    assert not re.search(r"#[0-9a-f]{3,6}|rgb\(", "".join(re.findall(r"<svg.*?</svg>", page)))


def test_the_confusion_matrix_has_a_square_a_cell() -> None:
    report = single_report()
    matrix = next(d for d in drawings(to_html(report)) if "matrix" in d.attrib["aria-label"])
    squares = [r for r in matrix.iter("rect") if r.attrib["class"] in ("accent", "second")]
    cells = report["confusion"]["cells"]
    assert len(squares) == len(cells)
    assert [square[0].text for square in squares] == [
        f"{LABELS[c['true_index']]} given {LABELS[c['given_index']]}: {c['count']}" for c in cells
    ]
    assert sum(square.attrib["class"] == "accent" for square in squares) == 4


def test_a_point_of_the_reliability_curve_lies_where_its_bin_says() -> None:
    report = {
        "calibration": {
            "bins": [
                {"lower": 0, "upper": 0.5, "count": 3, "mean_confidence": 0.25, "accuracy": 0.0},
                {"lower": 0.5, "upper": 1, "count": 6, "mean_confidence": 0.75, "accuracy": 1.0},
            ]
        }
    }
    (drawing,) = drawings(to_html(report))
    low, high = drawing.iter("circle")
    assert float(high.attrib["cx"]) - float(low.attrib["cx"]) == pytest.approx(190, abs=0.2)
    assert float(low.attrib["cy"]) - float(high.attrib["cy"]) == pytest.approx(260, abs=0.2)
    bars = [float(r.attrib["height"]) for r in drawing.iter("rect")]
    assert bars[1] == pytest.approx(2 * bars[0])


def test_multi_label_has_thresholds_and_no_matrix() -> None:
    page = to_html(multi_report(), DATA)
    assert "Threshold" in Reader(page).said
    assert named(page) == ["Reliability curve", "Abstention curve", "F1 of each label"]
    assert "What was taken for what" not in page


HOSTILE = '</title></svg><script>alert("x")</script>&amp;\x00\x1b\ud800{name}'


def test_every_text_is_escaped() -> None:
    labels = [HOSTILE, "b" + HOSTILE, "c"]
    report = measure(
        labels,
        SINGLE_LABEL,
        np.array([0, 1, 2, 0]),
        np.array([[0.2, 0.7, 0.1]] * 4),
        texts=[HOSTILE] * 4,
    )
    data = {"issues": [{"kind": HOSTILE, "count": 1, "labels": [HOSTILE]}], "digest": HOSTILE}
    training = {
        "candidates": [{"options": {HOSTILE: HOSTILE}}, {"options": {"x": HOSTILE}}],
        "epochs": [{"epoch": HOSTILE, "training_loss": HOSTILE}, {"epoch": 2}],
    }
    about = {"encoder_version": HOSTILE, "options": {HOSTILE: [HOSTILE]}}
    page = to_html(report, data, training, about, name=HOSTILE)
    assert "<script" not in page
    assert "\x00" not in page
    assert "\x1b" not in page
    page.encode()
    reader = Reader(page)
    assert "script" not in {tag for tag, _ in reader.found}
    assert html.escape('<script>alert("x")</script>&amp;') in page
    assert len(drawings(page)) == 6


def test_the_same_report_gives_the_same_page_and_no_clock_is_in_it() -> None:
    report = single_report(uncalibrated=np.full((500, 4), 0.25), fitted_here=True)
    page = to_html(report, DATA, TRAINING, ABOUT)
    stored = MessageToDict(
        ParseDict(report, pb.ClassificationReport()), preserving_proto_field_name=True
    )
    assert isinstance(stored["example_count"], str)
    data = MessageToDict(ParseDict(DATA, pb.DataReport()), preserving_proto_field_name=True)
    assert to_html(stored, data, later(TRAINING), ABOUT) == page


def test_zeros_that_json_leaves_out_are_shown() -> None:
    report = measure(
        ("a", "b"), SINGLE_LABEL, np.array([1, 1]), np.array([[1.0, 0.0]] * 2), texts=["x", "y"]
    )
    stored = MessageToDict(
        ParseDict(report, pb.ClassificationReport()), preserving_proto_field_name=True
    )
    assert "accuracy" not in stored
    assert to_html(stored) == to_html(report)


@pytest.mark.parametrize("report", [{}, {"labels": []}, {"confusion": {"labels": ["a"]}}])
def test_what_is_missing_is_left_out(report: dict[str, Any]) -> None:
    assert Reader(to_html(report)).count("svg") == 0


def wide_report(labels: int, texts: int, task: str = SINGLE_LABEL, **options: Any) -> dict:
    """Labels of the greatest length, most of which are confused with one another."""
    random = np.random.default_rng(5)
    names = [f"{index:05d}" + "\u2028'" * 62 for index in range(labels)]
    probabilities = random.random((texts, labels), dtype=np.float32)
    if task == SINGLE_LABEL:
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets: Any = random.integers(0, labels, texts)
    thresholds = None
    if task == MULTI_LABEL:
        targets, thresholds = random.random((texts, labels)) < 0.3, np.full(labels, 0.5)
    return measure(
        names,
        task,
        targets,
        probabilities,
        texts=['"' * 500] * texts,
        thresholds=thresholds,
        options=options,
    )


def test_without_room_the_matrix_goes_first() -> None:
    report = wide_report(60, 3000, confused_pairs=10, examples_per_pair=0)
    page = to_html(report)
    assert "Confusion matrix" not in named(page)
    assert "The matrix is left out" in page
    assert "All labels" in page
    assert len(page.encode()) <= MOST_BYTES
    del report["confusion"]["cells"][50:]
    assert "Confusion matrix" in named(to_html(report))


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_the_page_is_bounded_whatever_the_report(task: str) -> None:
    report = wide_report(1500, 2000, task, confused_pairs=1000, examples_per_pair=100)
    names = [entry["label"] for entry in report["labels"]]
    issues = [{"kind": f"K{k}", "count": 100, "labels": names[:100]} for k in range(30)]
    leaves = dict.fromkeys(names, names[0] * 50)
    tried = [{"options": {**leaves, "n": k}} for k in range(200)]
    epochs = [{"epoch": k, "validation_loss": 1.0 / (k + 1)} for k in range(20_000)]
    page = to_html(
        report,
        {"issues": issues},
        {"candidates": tried, "epochs": epochs},
        {"options": leaves},
        name=names[0] * 100,
    )
    assert len(page.encode()) <= MOST_BYTES
    Reader(page)
    assert "labels of 1,500 with the lowest F1" in page


def test_many_labels_are_drawn_without_names() -> None:
    labels = 300
    report = measure(
        [f"label {k}" for k in range(labels)],
        SINGLE_LABEL,
        np.arange(labels),
        np.roll(np.eye(labels), 1, axis=1),
        texts=words(labels),
    )
    page = to_html(report)
    matrix = next(d for d in drawings(page) if "matrix" in d.attrib["aria-label"])
    (path,) = matrix.iter("path")
    assert path.attrib["class"] == "second"
    assert path.attrib["d"].count("M") == labels
    assert path.attrib["d"].startswith("M1 0h1v1h-1z")


@pytest.mark.parametrize(
    ("low", "high", "least", "expected"),
    [
        (0.0, 1.0, 0.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.9, 1.0, 0.0, [0.9, 0.92, 0.94, 0.96, 0.98, 1.0]),
        (0.153, 2.63, 0.0, [0.5, 1.0, 1.5, 2.0, 2.5]),
        (1.0, 7.0, 1.0, [2.0, 4.0, 6.0]),
        (1.0, 3.0, 1.0, [1.0, 2.0, 3.0]),
        (1.0, 4000.0, 1.0, [1000.0, 2000.0, 3000.0, 4000.0]),
    ],
)
def test_axes_have_round_values(
    low: float, high: float, least: float, expected: list[float]
) -> None:
    assert svg._ticks(low, high, least) == pytest.approx(expected)


def test_many_cells_are_drawn_without_titles() -> None:
    labels = 70
    true, given = np.divmod(np.arange(labels * labels), labels)
    report = measure(
        [f"label {k}" for k in range(labels)],
        SINGLE_LABEL,
        true,
        np.eye(labels, dtype=np.float32)[given],
        texts=words(labels * labels),
    )
    matrix = next(d for d in drawings(to_html(report)) if "matrix" in d.attrib["aria-label"])
    squares = "".join(path.attrib["d"] for path in matrix.iter("path"))
    assert squares.count("M") == labels * labels
    assert "label 7" in {text.text for text in matrix.iter("text")}
