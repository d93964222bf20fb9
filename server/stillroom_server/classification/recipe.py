"""From a request to a classifier in a folder: examples, vectors, training, files, the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stillroom_server.classification.data.collecting import Examples
from stillroom_server.classification.data.issues import about_labels, ordered
from stillroom_server.classification.data.prepared import Prepared, note_tokens, prepare
from stillroom_server.classification.data.report import data_report
from stillroom_server.classification.export.folder import finish, write_classifier
from stillroom_server.classification.export.parity import RUNS, check
from stillroom_server.classification.features.encode import encode_texts
from stillroom_server.classification.features.encoded import Encoded, Encoder
from stillroom_server.classification.features.load import load_encoder
from stillroom_server.classification.job import Job, Made
from stillroom_server.classification.option_reader import enum_name
from stillroom_server.classification.report.card import card_section
from stillroom_server.classification.report.html import to_html
from stillroom_server.classification.report.measure import measure
from stillroom_server.classification.report.unknown import unknown_labels
from stillroom_server.classification.scores import probabilities_of
from stillroom_server.classification.splits import Split, split
from stillroom_server.classification.training.train import Trained, train
from stillroom_server.distillation.stopwatch import Stopwatch


@dataclass(frozen=True)
class _Data:
    """``given`` is validation data of its own, None where ``parts`` says how the data are split;
    ``encoded`` and ``encoded_validation`` are their texts."""

    prepared: Prepared
    given: Examples | None
    encoder: Encoder
    encoded: Encoded
    encoded_validation: Encoded | None
    parts: Split | None


def make(job: Job) -> Made:
    """Raises what reading, encoding, training, exporting and measuring raise, InvalidArgument for
    weights of labels that there are not."""
    watch = Stopwatch(job.clock)
    with watch.phase("data"):
        prepared, given = _read(job)
    with watch.phase("encode"):
        data = _encoded(job, prepared, given)
    with watch.phase("train"):
        trained = train(
            data.prepared,
            data.parts,
            data.encoder,
            data.encoded,
            data.encoded_validation,
            job.request.options,
            job.context,
            job.checkpoints(),
            clock=job.clock,
        )
    description = _description(job, data, trained)
    with watch.phase("write"):
        _write(job, trained, description)
    with watch.phase("verify"):
        parity = _verified(job, data.prepared.texts)
    training = {**trained.report, "onnx_parity": parity, "seconds": watch.seconds}
    with watch.phase("report"):
        report, told = _reported(job, data, trained)
        _attach(job, data, Made(description, report, told, training))
    return Made(description, report, told, training)


def _read(job: Job) -> tuple[Prepared, Examples | None]:
    asked, options = job.request, job.request.options

    def read(source: Any, field: str) -> Examples:
        return job.access.read(
            source, job.workspace, job.context, multi_label=options.multi_label, field=field
        )

    examples = read(asked.data, "data")
    given = None
    if asked.validation_data is not None:
        given = read(asked.validation_data, "validation_data")
    prepared = prepare(examples, given, options)
    options.check_labels(prepared.labels)
    return prepared, given


def _encoded(job: Job, prepared: Prepared, given: Examples | None) -> _Data:
    asked, context = job.request, job.context
    encoder = load_encoder(
        job.source.folder,
        job.source.kind,
        asked.options.encoding,
        device=job.device,
        dtype=job.dtype,
        cache=job.verdicts,
    )
    kept = job.workspace / "vectors"
    encoded = encode_texts(
        encoder,
        prepared.texts,
        context,
        places=prepared.kept,
        kept=kept,
        saved=context.give_way,
    )
    other = None
    if prepared.validation_texts is not None:
        other = encode_texts(
            encoder,
            prepared.validation_texts,
            context,
            field="validation_data",
            kept=kept,
            saved=context.give_way,
        )
    prepared = note_tokens(
        prepared,
        unknown=~encoded.known,
        truncated=encoded.truncated,
        validation_unknown=None if other is None else ~other.known,
        validation_truncated=None if other is None else other.truncated,
    )
    asked.options.check_labels(prepared.labels)
    if not encoded.known.all():
        encoded = encoded.take(np.flatnonzero(encoded.known))
    parts = None
    if asked.split is not None:
        parts = split(prepared.targets, asked.split, asked.options.seed)
    return _Data(prepared, given, encoder, encoded, other, parts)


def _description(job: Job, data: _Data, trained: Trained) -> dict[str, Any]:
    """The ClassifierDescription."""
    found = {
        "task": _task(job),
        "labels": list(data.prepared.labels),
        "encoder_version": job.source.name,
        "dimensions": trained.head.dimensions,
        "max_tokens": data.encoder.max_tokens,
        "options": trained.options.to_json(),
        "temperature": trained.temperature,
        "abstention_threshold": trained.abstention_threshold,
    }
    return {**found, "thresholds": list(trained.thresholds)} if trained.thresholds else found


def _write(job: Job, trained: Trained, description: dict[str, Any]) -> None:
    context = job.context
    context.progress("write", 0, 1, unit="classifiers")
    context.check_cancelled()
    write_classifier(
        job.output,
        encoder_folder=job.source.folder,
        encoder_kind=job.source.kind,
        head=trained.head,
        description=description,
        table=trained.table,
        weights=trained.weights,
        element_type=trained.element_type,
        seal=False,
    )
    context.progress("write", 1, 1, unit="classifiers")


def _verified(job: Job, texts: list[str]) -> dict[str, Any]:
    """The ClassifierParity."""
    context = job.context
    context.progress("verify", 0, RUNS, unit="runs")

    def on_run(done: int) -> None:
        context.check_cancelled()
        context.progress("verify", done, max(done, RUNS), unit="runs")

    return check(job.output, texts, seed=job.request.options.seed, runs=RUNS, on_run=on_run)


def _reported(job: Job, data: _Data, trained: Trained) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ClassificationReport of the validation texts, and the DataReport."""
    context, prepared, rows = job.context, data.prepared, trained.rows
    context.progress("report", 0, 2, unit="reports")
    context.check_cancelled()
    extra: dict[int, list[str]] = {}
    silent = None
    if data.given is not None and data.encoded_validation is not None:
        texts, indices = data.given.texts, rows
        extra = unknown_labels((data.given.labels[row] for row in rows), prepared.labels)
        silent = ~data.encoded_validation.known[rows]
    else:
        texts, indices = prepared.texts, prepared.kept[rows]
    report = measure(
        prepared.labels,
        _task(job),
        trained.targets,
        probabilities_of(trained.scores, trained.temperature, _task(job)),
        texts=[texts[row] for row in rows],
        indices=indices,
        thresholds=trained.thresholds if job.request.options.multi_label else None,
        abstention_threshold=trained.abstention_threshold,
        options=job.request.report_options,
        uncalibrated=probabilities_of(trained.scores, 1.0, _task(job)),
        fitted_here=trained.options.calibration == "temperature",
        extra_labels=extra,
        silent=silent,
        between=context.check_cancelled,
    )
    told = data_report(prepared, data.parts)
    shared = [prepared.labels[label] for label in trained.shared_thresholds]
    told["issues"] = ordered([*told["issues"], *about_labels("SHARED_THRESHOLD", shared)])
    context.progress("report", 1, 2, unit="reports")
    return report, told


def _attach(job: Job, data: _Data, made: Made) -> None:
    """What is for people: the page, the card, and the figures beside the digests."""
    request = job.request
    job.context.check_cancelled()
    shown = (made.report, made.data, made.training)
    finish(
        job.output,
        card={
            "title": request.name,
            "description": request.description,
            "base_model": job.source.name,
        },
        report_markdown=card_section(*shown),
        report_html=to_html(*shown, made.description, name=request.name),
        lineage=_lineage(job, data),
        metrics=headline(made.report),
    )
    job.context.progress("report", 2, 2, unit="reports")
    job.context.check_cancelled()


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """The few figures of a ClassificationReport that stand for all."""
    names = ("example_count", "accuracy", "macro_f1", "weighted_f1", "log_loss")
    figures = {name: report[name] for name in names if name in report}
    error = report["calibration"]["expected_calibration_error"]
    return {**figures, "expected_calibration_error": error}


def _lineage(job: Job, data: _Data) -> dict[str, Any]:
    prepared = data.prepared
    found = {
        "encoder": job.source.name,
        "encoder_digest": job.source.version.digest,
        "data_digest": prepared.digest,
    }
    if prepared.validation_digest:
        found["validation_digest"] = prepared.validation_digest
    return found


def _task(job: Job) -> str:
    return enum_name("CLASSIFICATION_TASK", job.request.options.task)
