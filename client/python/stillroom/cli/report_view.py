"""What a student's fidelity report shows to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stillroom.cli import human
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.v1 import fidelity_pb2 as pb


def show(session: Session, report: pb.FidelityReport, first: list[tuple[str, str]]) -> None:
    """The whole report: facts after those of ``first``, then a table for each list that it has."""
    session.facts([*first, *_facts(report)])
    for columns, rows in (_prefixes(report), _quantizations(report), _scores(report)):
        if rows:
            session.out.print()
            session.table(columns, rows)


def _facts(report: pb.FidelityReport) -> Iterator[tuple[str, str]]:
    yield from _made(report)
    yield from _compared(report)
    yield from _speed(report)
    yield from _learned(report)
    if report.HasField("onnx_parity"):
        parity = report.onnx_parity
        checked = f"{parity.texts:,} texts, {parity.runs} runs"
        yield "ONNX", f"verified: {checked}, largest error {parity.max_abs_error:.1e}"
    if report.seconds:
        total = human.duration(sum(report.seconds.values()))
        phases = sorted(report.seconds.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{phase} {human.duration(value)}" for phase, value in phases)
        yield "time", f"{total} ({parts})"


def _made(report: pb.FidelityReport) -> Iterator[tuple[str, str]]:
    if report.recipe:
        yield "recipe", report.recipe
    if report.vocabulary_size:
        yield "vocabulary", f"{report.vocabulary_size:,} tokens x {report.dimensions} dimensions"
    elif report.dimensions:
        yield "dimensions", f"{report.dimensions:,}"
    if report.HasField("transformer"):
        parts = report.transformer
        of = f" of {parts.teacher_layers}" if parts.teacher_layers else ""
        size = f"{parts.hidden_size} wide, {parts.parameters:,} parameters"
        yield "transformer", f"{parts.layers}{of} layers, {size}"
    if report.student_bytes:
        stored = f" in {_type(report.element_type)}" if report.element_type else ""
        yield "size", f"{human.size(report.student_bytes)}{stored}{_compared_size(report)}"
    if report.explained_variance:
        yield "variance kept", f"{report.explained_variance:.1%}"


def _compared_size(report: pb.FidelityReport) -> str:
    if not report.teacher_bytes:
        return ""
    source = "source" if report.recipe == "quantize" else "teacher"
    ratio = report.teacher_bytes / report.student_bytes
    return f" ({source}: {human.size(report.teacher_bytes)}, {ratio:.1f} times as much)"


def _compared(report: pb.FidelityReport) -> Iterator[tuple[str, str]]:
    from stillroom.v1 import fidelity_pb2 as pb

    if report.texts:
        built_in = report.text_source == pb.FIDELITY_TEXTS_BUILT_IN
        which = "built-in texts" if built_in else "texts held out of the corpus"
        silent = f", {report.silent_texts:,} without a known token" if report.silent_texts else ""
        yield "compared on", f"{report.texts:,} {which}{silent}"
    if report.HasField("mean_cosine"):
        low = f", 5th percentile {report.p5_cosine:.4f}" if report.HasField("p5_cosine") else ""
        aligned = report.cosine_basis == pb.COSINE_BASIS_ALIGNED
        space = " after alignment to its space" if aligned else ""
        yield "cosine", f"{report.mean_cosine:.4f} to the teacher{low}{space}"
    if report.HasField("similarity_spearman"):
        pairs = f", {report.similarity_pairs:,} pairs" if report.similarity_pairs else ""
        yield "similarities", f"{report.similarity_spearman:.4f} Spearman to the teacher's{pairs}"
    if report.HasField("recall_at_10"):
        count = report.recall_neighbors or 10
        yield "neighbors", f"{report.recall_at_10:.1%} of the teacher's {count} nearest"


def _speed(report: pb.FidelityReport) -> Iterator[tuple[str, str]]:
    for who in ("student", "teacher"):
        rates = [
            f"{getattr(report, f'{who}_{unit}_per_second'):,.0f} {unit}/s"
            for unit in ("texts", "tokens")
            if report.HasField(f"{who}_{unit}_per_second")  # type: ignore[arg-type]
        ]
        if rates:
            yield f"{who} speed", ", ".join(rates)


def _learned(report: pb.FidelityReport) -> Iterator[tuple[str, str]]:
    if report.HasField("corpus"):
        facts = report.corpus
        left_out = [
            f"{count:,} {what}"
            for count, what in (
                (facts.duplicates, "duplicates"),
                (facts.blank, "blank"),
                (facts.cut, "cut"),
            )
            if count
        ]
        also = f" ({', '.join(left_out)})" if left_out else ""
        yield "corpus", f"{facts.texts:,} texts, {facts.held_out:,} of them held out{also}"
    if report.HasField("training"):
        yield "training", _training(report.training)


def _training(facts: pb.TrainingFacts) -> str:
    parts = [f"{facts.epochs:.3g} epochs, {facts.steps:,} steps"]
    cosines = [point.cosine for point in facts.history if point.HasField("cosine")]
    losses = [point.held_out_loss for point in facts.history if point.HasField("held_out_loss")]
    if cosines:
        parts.append(f"held-out cosine {cosines[0]:.4f} to {max(cosines):.4f}")
    elif losses:
        parts.append(f"held-out loss {losses[0]:.4g} to {min(losses):.4g}")
    if facts.stopped:
        parts.append(f"ended: {facts.stopped}")
    grown = [
        f"{count:,} {what}"
        for count, what in ((facts.words_added, "words"), (facts.pairs_added, "word pairs"))
        if count
    ]
    if grown:
        parts.append(f"{' and '.join(grown)} added to the vocabulary")
    return "; ".join(parts)


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _prefixes(report: pb.FidelityReport) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            f"{item.dimensions:,}",
            f"{item.similarity_spearman:.4f}" if item.HasField("similarity_spearman") else "",
            f"{item.recall_at_10:.1%}" if item.HasField("recall_at_10") else "",
            f"{item.mean_cosine:.4f}" if item.HasField("mean_cosine") else "",
        )
        for item in report.prefixes
    ]
    return ("FIRST DIMENSIONS#", "SPEARMAN#", "NEIGHBORS#", "COSINE#"), rows


def _quantizations(report: pb.FidelityReport) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            _type(item.element_type),
            human.size(item.bytes),
            f"{item.mean_cosine:.5f}" if item.HasField("mean_cosine") else "",
            f"{item.similarity_spearman:.4f}" if item.HasField("similarity_spearman") else "",
            f"{item.spearman_change:+.5f}" if item.HasField("spearman_change") else "",
        )
        for item in report.quantizations
    ]
    return ("STORED AS", "SIZE#", "COSINE TO FLOAT32#", "SPEARMAN#", "CHANGE#"), rows


def _scores(report: pb.FidelityReport) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            item.name,
            item.metric,
            f"{item.student:.4f}" if item.HasField("student") else "",
            f"{item.teacher:.4f}" if item.HasField("teacher") else "",
            f"{item.student / item.teacher:.1%}"
            if item.HasField("student") and item.teacher > 0
            else "",
            f"{item.count:,}",
        )
        for item in report.scores
    ]
    return ("EVALUATION", "METRIC", "STUDENT#", "TEACHER#", "SHARE#", "ROWS#"), rows


def _type(number: int) -> str:
    from stillroom._protocol import enums
    from stillroom.v1 import common_pb2

    return enums.word(common_pb2.ElementType, number)
