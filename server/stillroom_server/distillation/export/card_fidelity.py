"""The card's section about fidelity, from a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from stillroom_server.distillation.export.card_text import escape, table

Rows = Iterator[tuple[object, ...]]


def fidelity_section(report: Mapping[str, Any], picture: str | None) -> list[str]:
    """The lines under the heading; tables without rows are left out."""
    lines = [escape(_compared(report)), ""]
    if picture:
        lines += [f"![Fidelity of the student to its teacher]({quote(picture)})", ""]
    for head, rows in (
        (("Figure", ""), _figures(report)),
        (("First dimensions", "Spearman", "Recall of neighbors"), _prefixes(report)),
        (
            ("Stored as", "Weights", "Cosine to float32", "Change of Spearman"),
            _quantizations(report),
        ),
        (("Evaluation", "Metric", "Student", "Teacher", "Rows"), _scores(report)),
        (("Corpus", ""), _corpus(report)),
    ):
        lines += table(head, rows)
    return lines


def _compared(report: Mapping[str, Any]) -> str:
    held_out = report.get("text_source") == "held_out"
    which = "texts held out of the corpus" if held_out else "built-in English texts"
    said = f"Compared with its teacher on {_count(report.get('texts') or 0)} {which}."
    match report.get("cosine_basis"):
        case "aligned":
            return (
                said
                + " Cosines are taken after a linear map to the teacher's space,"
                + (" fitted to other texts.")
            )
        case "teacher":
            return said + " Its space is the teacher's."
    return said


def _figures(report: Mapping[str, Any]) -> Rows:
    speed = report.get("measured_speed") or {}
    neighbors = report.get("recall_neighbors") or 10
    for label, value in (
        ("Mean cosine", report.get("mean_cosine")),
        ("5th percentile of the cosine", report.get("p5_cosine")),
        ("Spearman of pairwise similarities", report.get("similarity_spearman")),
        (f"Recall of the {neighbors} nearest neighbors", report.get("recall_at_10")),
    ):
        if value is not None:
            yield label, f"{value:.4f}"
    for whose in ("student", "teacher"):
        size = report.get(f"{whose}_bytes")
        if size:
            yield f"Size of the weights, {whose}", f"{size / 1e6:.1f} MB"
        rate = speed.get(f"{whose}_tokens_per_second")
        if rate:
            yield f"Tokens a second, {whose}", _count(rate)
    parity = report.get("onnx_parity")
    if parity:
        texts, runs = _count(parity["texts"]), _count(parity["runs"])
        yield "ONNX", f"error at most {parity['max_abs_error']:.1e} ({texts} texts, {runs} runs)"


def _prefixes(report: Mapping[str, Any]) -> Rows:
    for entry in report.get("prefixes") or ():
        correlation, recall = entry.get("similarity_spearman"), entry.get("recall_at_10")
        yield entry["dimensions"], _number(correlation), _number(recall)


def _quantizations(report: Mapping[str, Any]) -> Rows:
    for entry in report.get("quantizations") or ():
        size = f"{entry['bytes'] / 1e6:.1f} MB"
        cosine, change = entry.get("mean_cosine"), entry.get("spearman_change")
        yield entry["element_type"], size, _number(cosine, ".5f"), _number(change, "+.5f")


def _scores(report: Mapping[str, Any]) -> Rows:
    for entry in report.get("scores") or ():
        yield (
            entry["name"],
            entry["metric"],
            _number(entry.get("student")),
            _number(entry.get("teacher")),
            _count(entry["count"]),
        )


def _corpus(report: Mapping[str, Any]) -> Rows:
    for name, value in (report.get("corpus") or {}).items():
        if isinstance(value, bool | int | float | str):
            shown = _count(value) if isinstance(value, int) else value
            yield str(name).replace("_", " "), shown


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def _count(value: float) -> str:
    return f"{value:,.0f}"
