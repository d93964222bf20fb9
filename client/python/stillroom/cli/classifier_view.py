"""What training and measuring a classifier shows to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stillroom.cli import classifier_tables as tables
from stillroom.cli import human
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.v1 import classification_service_pb2 as pb

Fact = tuple[str, str]


def show_trained(session: Session, response: pb.TrainClassifierResponse) -> None:
    """All of what a training answered."""
    show(
        session,
        response.report,
        first=[("classifier", response.model_version.name)],
        description=response.classifier,
        data=response.data,
        training=response.training,
    )


def show_evaluated(session: Session, response: pb.EvaluateClassifierResponse) -> None:
    """All of what an evaluation answered."""
    first = [("classifier", response.model_version)]
    show(session, response.report, first=first, data=response.data)


def show(
    session: Session,
    report: pb.ClassificationReport,
    *,
    first: list[Fact],
    description: pb.ClassifierDescription | None = None,
    data: pb.DataReport | None = None,
    training: pb.TrainingReport | None = None,
) -> None:
    """Facts after those of ``first``, then a table for each list there is."""
    session.facts(
        [
            *first,
            *(_described(description) if description is not None else ()),
            *(_data(data) if data is not None else ()),
            *_measured(report),
            *_calibrated(report, description),
            *_abstaining(report, description),
            *(_trained(training) if training is not None else ()),
        ]
    )
    shown = [tables.candidates(training)] if training is not None else []
    shown += [tables.labels(report), tables.confused(report), tables.reliability(report)]
    for columns, rows in shown:
        if rows:
            session.out.print()
            session.table(columns, rows)
    left_out = len(report.labels) - tables.MOST_LABELS
    if left_out > 0:
        session.say(
            f"{left_out} more labels, none worse; all are on the page (--html) and in --json"
        )
    for issue in data.issues if data is not None else ():
        session.say(tables.issue(issue))


def _described(description: pb.ClassifierDescription) -> Iterator[Fact]:
    if description.encoder_version:
        yield "encoder", description.encoder_version
    if description.labels:
        many = "any number of" if len(description.thresholds) else "one of"
        yield "task", f"{many} {len(description.labels):,} labels a text"
    if description.HasField("options"):
        yield "head", tables.head(description.options)


def _data(data: pb.DataReport) -> Iterator[Fact]:
    from stillroom.v1 import classification_service_pb2 as pb

    parts = [f"{data.example_count:,} examples"] if data.example_count else []
    if data.training_count:
        parts.append(f"{data.training_count:,} trained on")
    if data.validation_count and data.validation_source:
        source = {
            pb.VALIDATION_SOURCE_HELD_OUT: "held out",
            pb.VALIDATION_SOURCE_GIVEN: "given",
            pb.VALIDATION_SOURCE_FOLDS: f"in {data.folds} folds",
        }.get(data.validation_source, "")
        parts.append(f"{data.validation_count:,} validated on ({source})")
    if parts:
        yield "data", ", ".join(parts)


def _measured(report: pb.ClassificationReport) -> Iterator[Fact]:
    from stillroom.v1 import classification_service_pb2 as pb

    several = report.task == pb.CLASSIFICATION_TASK_MULTI_LABEL
    what = "texts with all labels right" if several else "texts"
    yield "accuracy", f"{report.accuracy:.2%} of {report.example_count:,} {what}"
    micro = f", {report.micro_f1:.4f} of all together" if several else ""
    yield "F1", f"{report.macro_f1:.4f} macro, {report.weighted_f1:.4f} weighted{micro}"
    if report.HasField("log_loss"):
        yield "log loss", f"{report.log_loss:.4f}"


def _calibrated(
    report: pb.ClassificationReport, description: pb.ClassifierDescription | None
) -> Iterator[Fact]:
    if not report.HasField("calibration"):
        return
    found = report.calibration
    said = f"error {found.expected_calibration_error:.4f}"
    if found.HasField("uncalibrated_error"):
        said += f" ({found.uncalibrated_error:.4f} before)"
    if found.bins:
        said += f", largest {found.maximum_calibration_error:.4f}, Brier {found.brier_score:.4f}"
    if description is not None and description.temperature not in (0.0, 1.0):
        said += f", temperature {description.temperature:.3f}"
    if found.fitted_here:
        said += "; fitted on these very data, so it flatters"
    yield "calibration", said


def _abstaining(
    report: pb.ClassificationReport, description: pb.ClassifierDescription | None
) -> Iterator[Fact]:
    if not report.HasField("abstention"):
        if description is not None and description.abstention_threshold:
            yield "unsure", f"below {description.abstention_threshold:.3f}"
        return
    found = report.abstention
    right = f", {found.accuracy:.2%} of those right" if found.HasField("accuracy") else ""
    below = f"below {found.threshold:.3f}" if found.threshold else "never"
    yield "unsure", f"{below}; {found.coverage:.1%} of the texts answered{right}"


def _trained(training: pb.TrainingReport) -> Iterator[Fact]:
    from stillroom._protocol import enums
    from stillroom.v1 import classification_service_pb2 as pb

    parts = [f"{len(training.candidates)} ways tried"] if len(training.candidates) > 1 else []
    if training.epochs:
        parts.append(f"{len(training.epochs)} epochs, the {training.best_epoch}. kept")
    if training.end:
        ended = enums.word(pb.TrainingEnd, training.end).replace("_", " ")
        parts.append(f"ended: {ended}")
    if parts:
        yield "training", "; ".join(parts)
    if training.HasField("onnx_parity"):
        parity = training.onnx_parity
        checked = f"{parity.texts:,} texts, {parity.runs} runs"
        yield "ONNX", f"verified: {checked}, largest error {parity.max_abs_error:.1e}"
    if training.seconds:
        total = human.duration(sum(training.seconds.values()))
        phases = sorted(training.seconds.items(), key=lambda item: -item[1])
        named = ", ".join(f"{phase} {human.duration(value)}" for phase, value in phases)
        yield "time", f"{total} ({named})"
