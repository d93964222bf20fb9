"""The report as one HTML page that needs nothing else, at most 1,000,000 bytes.

Everything that was said by people or models is escaped. The page has no script and loads nothing;
its own policy forbids both once more. It holds nothing that a clock measured, so the same report
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stillroom_server.classification.report import plots, words
from stillroom_server.classification.report.heat_map import heat_map
from stillroom_server.classification.report.style import PAGE
from stillroom_server.classification.report.svg import short, text
from stillroom_server.classification.report.words import Json, items

MOST_BYTES = 1_000_000
_MOST_CHARACTERS = 300  # of a name or an option


@dataclass(frozen=True)
class _Detail:
    """How much of what a report may have without bound is shown."""

    matrix: bool
    labels: int
    pairs: int
    examples: int
    rows: int  # of other tables


# The first that fits is taken; the last always does, whatever the labels and texts are.
_DETAILS = (
    _Detail(True, 10_000, 1000, 100, 100),
    _Detail(False, 10_000, 1000, 100, 100),
    _Detail(False, 2000, 200, 5, 100),
    _Detail(False, 300, 50, 3, 50),
    _Detail(False, 50, 10, 2, 10),
)


def to_html(
    report: Json,
    data: Json | None = None,
    training: Json | None = None,
    description: Json | None = None,
    *,
    name: str = "Classifier",
) -> str:
    """The page of a ClassificationReport, with what a DataReport, a TrainingReport and a
    ClassifierDescription say besides, each as JSON with the protocol's names. ``name`` is that of
    the model.

    A report that needs more than 1,000,000 bytes of UTF-8 is shown without the confusion matrix,
    and then with fewer labels, pairs and examples; the page says so.
    """
    page = ""
    for detail in _DETAILS:
        if detail is not _DETAILS[-1] and _least_bytes(report, detail) > MOST_BYTES:
            continue
        parts = [part for part in _parts(report, data, training, description, detail) if part]
        page = PAGE.format(name=text(short(name, _MOST_CHARACTERS)), body="\n".join(parts))
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _least_bytes(report: Json, detail: _Detail) -> int:
    """No fewer bytes than these, counted without writing what would be too long anyway."""
    shown = sum(
        len(str(example.get("text", "")))
        for entry in items(report, "confused_pairs")[: detail.pairs]
        for example in items(entry, "examples")[: detail.examples]
    )
    cells = len(items(report.get("confusion"), "cells")) if detail.matrix else 0
    return shown + cells * len("M0 0h1v1h-1z")


def _parts(
    report: Json, data: Json | None, training: Json | None, about: Json | None, detail: _Detail
) -> Iterator[str]:
    yield f"<p>{text(words.measured(report, data))}</p>"
    figures = (
        f"<li><b>{text(value)}</b>{text(said)}</li>" for value, said in words.headline(report)
    )
    yield f'<ul class="figures">{"".join(figures)}</ul>'
    yield from _section(
        "Whether probabilities mean what they say",
        plots.reliability(report),
        _table((), words.calibration(report)),
        _sentence(words.flattered(report)),
    )
    yield from _section(
        "What abstaining brings", plots.abstention(report), _sentence(words.abstention(report))
    )
    yield from _section("Labels", plots.label_bars(report), _labels(report, detail.labels))
    if report.get("confusion"):
        left_out = "The matrix is left out, as this page would be too large with it."
        drawn = heat_map(report) if detail.matrix else _sentence(left_out)
        yield from _section("What was taken for what", drawn)
    yield from _section("Most confused", _pairs(items(report, "confused_pairs"), detail))
    yield from _section("Data", _table((), words.data(data)), _issues(data))
    tried = words.candidates(training)
    head = ("Tried", "Accuracy", "Macro F1", "Log loss", "")
    yield from _section("Training", *plots.training(training), _table(head, tried[: detail.rows]))
    yield from _section("Options", _options(about, detail))


def _section(title: str, *parts: str) -> Iterator[str]:
    """Nothing where there is nothing under the title."""
    found = [part for part in parts if part]
    if found:
        yield f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(found) + "\n</section>"


def _labels(report: Json, most: int) -> str:
    entries = items(report, "labels")
    thresholds = words.multi_label(report)
    head = words.LABEL_HEAD + (("Threshold",) if thresholds else ())
    if len(entries) <= most:
        return _folded("All labels", _table(head, words.labels(entries, thresholds=thresholds)))
    worst = words.worst_first(report)[:most]
    title = f"The {len(worst):,} labels of {len(entries):,} with the lowest F1"
    return _folded(title, _table(head, words.labels(worst, thresholds=thresholds)))


def _pairs(pairs: Sequence[Json], detail: _Detail) -> str:
    rows = []
    for entry in pairs[: detail.pairs]:
        true, given, count, share = words.pair(entry)
        cells = f"<td>{_name(true)}</td><td>{_name(given)}</td>"
        rows.append(f"<tr>{cells}<td>{text(count)}</td><td>{text(share)}</td></tr>")
        examples = [
            f"<li><q>{text(example.get('text', ''))}</q> <small>"
            f"{words.figure(example.get('given_probability', 0), '.3f')} against "
            f"{words.figure(example.get('true_probability', 0), '.3f')}</small></li>"
            for example in items(entry, "examples")[: detail.examples]
        ]
        if examples:
            rows.append(f'<tr><td colspan="4"><ul>{"".join(examples)}</ul></td></tr>')
    if not rows:
        return ""
    head = "<tr><th>Label</th><th>Taken for</th><th>Texts</th><th>Of the label's</th></tr>"
    shown = min(len(pairs), detail.pairs)
    note = "" if shown == len(pairs) else f"The first {shown:,} of {len(pairs):,} pairs."
    return f'<table class="pairs">{head}{"".join(rows)}</table>' + _sentence(note)


def _issues(data: Json | None) -> str:
    found = "".join(f"<li>{text(said)}</li>" for said in list(words.issues(data))[:20])
    return f"<ul>{found}</ul>" if found else ""


def _options(about: Json | None, detail: _Detail) -> str:
    if not about:
        return ""
    rows = [
        ("encoder", str(about.get("encoder_version", ""))),
        ("temperature", words.figure(about.get("temperature"))),
        *words.options(about.get("options") or {}),
    ]
    shown = [row for row in rows if row[1]]
    more = len(shown) - detail.rows
    note = f"And {more:,} more." if more > 0 else ""
    return _folded("How it was made", _table((), shown[: detail.rows]) + _sentence(note))


def _folded(title: str, inside: str) -> str:
    return f"<details><summary>{text(title)}</summary>\n{inside}</details>" if inside else ""


def _sentence(said: str) -> str:
    return f"<p>{text(said)}</p>" if said else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = ["<tr>" + "".join(f"<th>{text(cell)}</th>" for cell in head) + "</tr>"] if head else []
    for first, *others in rows:
        cells = "".join(f"<td>{text(short(cell, _MOST_CHARACTERS))}</td>" for cell in others)
        lines.append(f"<tr><td>{_name(first)}</td>{cells}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _name(value: str) -> str:
    """Isolated, so that a label written from right to left turns nothing else around."""
    return f"<bdi>{text(short(value, _MOST_CHARACTERS))}</bdi>"
