from __future__ import annotations

import re

import numpy as np
import pytest
from classification.report.made import LABELS, multi_report, single_report
from classification.report.test_html import DATA, TRAINING, later
from markdown_it import MarkdownIt

from stillroom_server.classification.report.card import card_section
from stillroom_server.classification.report.measure import SINGLE_LABEL, measure


def shown(markdown: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(markdown)


def rows(markdown: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("| ")
    ]


def test_the_section_says_what_the_report_does() -> None:
    report = single_report()
    section = card_section(report, DATA, TRAINING)
    assert section.startswith("## How good it is\n")
    assert section.endswith("|\n")
    found = rows(section)
    assert ["macro F1", f"{report['macro_f1']:.4f}"] in found
    for entry in report["labels"]:
        figures = [entry[key] for key in ("precision", "recall", "f1", "average_precision")]
        expected = [entry["label"], f"{entry['support']:,}", *(f"{v:.4f}" for v in figures)]
        assert expected in found
    pair = report["confused_pairs"][0]
    share = f"{pair['share']:.1%}".replace("%", " %")
    assert [pair["true_label"], pair["given_label"], str(pair["count"]), share] in found
    assert f"- {pair['examples'][0]['text']}" in section.splitlines()
    assert "[report.html](report.html)" in section
    assert "report.html" not in card_section(report, page=False)
    page = shown(section)
    for title in ("Labels", "Most confused", "Data", "Training"):
        assert f"<h3>{title}</h3>" in page
    assert "2 labels with too few examples to validate: loan, rate." in page
    assert "chosen" in page


def test_multi_label_has_thresholds() -> None:
    report = multi_report()
    found = rows(card_section(report))
    assert found[[row[0] for row in found].index("Label")][-1] == "Threshold"
    assert "0.3000" in found[[row[0] for row in found].index(LABELS[0])]


def test_texts_of_the_data_stay_out_where_they_were_not_asked_for() -> None:
    assert "text " in card_section(single_report())
    assert "text " not in card_section(single_report(options={"examples_per_pair": 0}))


def test_nothing_that_a_clock_measured_is_in_it() -> None:
    report = single_report()
    assert card_section(report, DATA, later(TRAINING)) == card_section(report, DATA, TRAINING)


@pytest.mark.parametrize(
    "text", ["<script>x</script>", "a|b", "# title", "[x](http://x)", "**b** `c`", "- item\n\n# x"]
)
def test_every_text_is_escaped(text: str) -> None:
    report = measure(
        [text, "other"],
        SINGLE_LABEL,
        np.array([0, 1]),
        np.array([[0.25, 0.75], [0.75, 0.25]]),
        texts=[text, text],
    )
    issues = [{"kind": "DATA_ISSUE_KIND_RARE_LABEL", "count": 1, "labels": [text]}]
    section = card_section(report, {"issues": issues, "digest": text})
    page = shown(section)
    for tag in ("<script", "<em>", "<strong>", "<code>", 'href="http'):
        assert tag not in page
    assert page.count("<h2>") == 1
    assert page.count("<li>") == 3  # two examples and an issue, none of them in pieces
    cells = {row.count("<td>") for row in re.findall(r"<tr>.*?</tr>", page, re.S)}
    assert cells <= {0, 2, 4, 6}  # a bar in a label opens no cell


def test_of_many_labels_the_worst_are_listed() -> None:
    random = np.random.default_rng(1)
    labels = [f"label {k}" for k in range(300)]
    targets = np.arange(3000) % 300
    probabilities = random.random((3000, 300)) + 0.8 * np.eye(300)[targets]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    report = measure(labels, SINGLE_LABEL, targets, probabilities, texts=["x"] * 3000)
    section = card_section(report)
    assert "### The 200 labels of 300 with the lowest F1" in section
    listed = [row for row in rows(section) if row[0].startswith("label ") and len(row) == 6]
    assert len(listed) == 200
    figures = [float(row[4]) for row in listed]
    assert figures == sorted(figures)
    shown_least = max(figures)
    others = [entry["f1"] for entry in report["labels"]]
    assert sum(f1 > shown_least + 1e-4 for f1 in others) >= 1
