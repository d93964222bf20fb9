"""The card's section about how good a classifier is: Markdown, every text in it escaped."""

from __future__ import annotations

from collections.abc import Sequence

from stillroom_server.classification.report import words
from stillroom_server.classification.report.svg import short
from stillroom_server.classification.report.words import Json, items
from stillroom_server.distillation.export.card_text import escape, table

_MOST_LABELS = 200
_MOST_PAIRS = 20
_MOST_EXAMPLES = 3
_MOST_CANDIDATES = 20
_MOST_CHARACTERS = 200  # of a text; the report has more of it
PAGE = "report.html"


def card_section(
    report: Json, data: Json | None = None, training: Json | None = None, *, page: bool = True
) -> str:
    """The section from its heading on, one newline at its end.

    ``report``, ``data`` and ``training`` are a ClassificationReport, a DataReport and a
    TrainingReport as JSON with the protocol's names. With ``page`` it refers to the file
    report.html beside the card. Of more than 200 labels, those with the lowest F1 are listed. It
    holds nothing that a clock measured.
    """
    lines = ["## How good it is", "", escape(words.measured(report, data)), ""]
    if page:
        lines += [f"The same with plots is in [{PAGE}]({PAGE}).", ""]
    lines += table(("Figure", ""), [(said, value) for value, said in words.headline(report)])
    lines += table(("Calibration", ""), words.calibration(report))
    lines += _sentences(words.flattered(report), words.abstention(report))
    lines += _labels(report)
    lines += _pairs(items(report, "confused_pairs")[:_MOST_PAIRS])
    facts = words.data(data)
    if facts:
        lines += ["### Data", "", *table(("Examples", ""), facts)]
        oddities = [f"- {escape(said)}" for said in words.issues(data)]
        lines += [*oddities, ""] if oddities else []
    tried = words.candidates(training)[:_MOST_CANDIDATES]
    if tried:
        head = ("Tried", "Accuracy", "Macro F1", "Log loss", "")
        lines += ["### Training", "", *table(head, tried)]
    return "\n".join(lines).rstrip() + "\n"


def _labels(report: Json) -> list[str]:
    entries, title = items(report, "labels"), "### Labels"
    if not entries:
        return []
    if len(entries) > _MOST_LABELS:
        title = f"### The {_MOST_LABELS} labels of {len(entries):,} with the lowest F1"
        entries = words.worst_first(report)[:_MOST_LABELS]
    thresholds = words.multi_label(report)
    head = words.LABEL_HEAD + (("Threshold",) if thresholds else ())
    return [title, "", *table(head, words.labels(entries, thresholds=thresholds))]


def _pairs(pairs: Sequence[Json]) -> list[str]:
    if not pairs:
        return []
    head = ("Label", "Taken for", "Texts", "Of the label's")
    lines = ["### Most confused", "", *table(head, [words.pair(entry) for entry in pairs])]
    for entry in pairs:
        true, given, *_ = words.pair(entry)
        examples = items(entry, "examples")[:_MOST_EXAMPLES]
        if examples:
            lines += [f"{escape(true)}, taken for {escape(given)}:", ""]
            lines += [
                f"- {escape(short(example.get('text', ''), _MOST_CHARACTERS))}"
                for example in examples
            ]
            lines.append("")
    return lines


def _sentences(*said: str) -> list[str]:
    found = [escape(each) for each in said if each]
    return [" ".join(found), ""] if found else []
