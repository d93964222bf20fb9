"""Classifiers out of labeled texts, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from stillroom._core import Core
from stillroom._flows import classifier_options, labeled
from stillroom._flows.classifier_options import TrainOptions
from stillroom._flows.labeled import Columns, Labeled
from stillroom._flows.starting import starting
from stillroom._progress import Progress
from stillroom._protocol import rpcs
from stillroom._protocol.messages import build, from_mapping
from stillroom.errors import InvalidArgument
from stillroom.snapshots import Started
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2


async def train_request(
    core: Core,
    name: str,
    encoder: str,
    data: Labeled,
    *,
    validation_data: Labeled | None = None,
    held_out: float | None = None,
    folds: int | None = None,
    unstratified: bool = False,
    text_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    delimiter: str | None = None,
    file_format: str | None = None,
    confused_pairs: int | None = None,
    examples_per_pair: int | None = None,
    calibration_bins: int | None = None,
    budget: Mapping[str, float] | common_pb2.Budget | None = None,
    validate_only: bool = False,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    progress: Progress = False,
    request_id: str | None = None,
    options: pb.ClassifierOptions | None = None,
    **choices: Unpack[TrainOptions],
) -> pb.TrainClassifierRequest:
    """What ``train_classifier`` sends when it is called in the same way: a message for
    ``estimate_cost`` and ``start``. What is on this machine is uploaded for it, nothing is started.
    ``name`` may be empty where it is only estimated. Raises InvalidArgument (``field`` names what
    is wrong)."""
    columns = Columns(text_column, label_column, label_separator, delimiter, file_format)
    sources = {"data": data, "validation_data": validation_data}
    _check_columns(columns, [source for source in sources.values() if source is not None])
    checked = {
        field: labeled.check(source, _columns_of(source, columns), field)
        for field, source in sources.items()
        if source is not None
    }
    request = build(
        pb.TrainClassifierRequest,
        encoder=encoder,
        name=name,
        validation_split=_split(validation_data, held_out, folds, unstratified),
        options=classifier_options.make(options, choices),
        report_options=_report_options(
            confused_pairs=confused_pairs,
            examples_per_pair=examples_per_pair,
            calibration_bins=calibration_bins,
        ),
        budget=from_mapping(common_pb2.Budget, budget, "budget"),
        validate_only=validate_only,
        request_id=request_id or core.new_id(),
        description=description,
        labels=labels,
    )
    # Last, as these may upload files: everything else has been found to be in order.
    for field, source in checked.items():
        sent = await labeled.send(core, source, columns, field, progress)
        getattr(request, field).CopyFrom(sent)
    return request


train_classifier = starting(
    train_request,
    rpcs.TRAIN_CLASSIFIER,
    pb.TrainClassifierResponse,
    """Trains a classifier on the vectors of ``encoder``, a registered student or teacher, and
    registers it as a new version of ``name``; answers the operation that does it. Its result has
    ``model_version``, ``classifier``, ``report``, ``data`` and ``training``.

    ``data`` are pairs of a text and its label, or a list of its labels; a ``Path`` of a CSV, TSV or
    JSONL file on this machine (uploaded, with ``progress``); or what ``labeled_source`` answers.
    ``text_column`` and the other four say how files are read, see ``labeled_source``.

    What the server decides by (when to stop, calibration, thresholds, the report) is
    ``validation_data`` of its own, or a share ``held_out`` of ``data``, or ``folds`` of it;
    unless given, the server chooses one of the latter two. Every label keeps its share in each
    part, unless ``unstratified``.

    How to train is said by keyword options as in ``stillroom.TrainOptions``, or by ``options``, a
    message such as the ``classifier.options`` of another result. The report shows
    ``confused_pairs`` (10) with ``examples_per_pair`` (3; 0 keeps texts of the data out of it)
    and ``calibration_bins`` (15). ``budget`` is a dict of seconds, memory_bytes, result_bytes
    and money_usd. ``validate_only`` checks everything and answers a finished operation with an
    estimate and without a classifier. ``labels`` are those of the model, for people.

    Raises InvalidArgument (``field`` names what is wrong), NotFound (the encoder, an upload),
    PermissionDenied, FailedPrecondition (the encoder is a classifier, or ``name`` is none),
    BudgetExceeded (its ``estimate`` says what it would take).
    """,
)


async def evaluate_classifier(
    core: Core,
    model: str,
    data: Labeled,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    delimiter: str | None = None,
    file_format: str | None = None,
    abstention_threshold: float | None = None,
    threshold: float | None = None,
    truncate: bool | None = None,
    confused_pairs: int | None = None,
    examples_per_pair: int | None = None,
    calibration_bins: int | None = None,
    include_html: bool = False,
    progress: Progress = False,
    request_id: str | None = None,
) -> Started[pb.EvaluateClassifierResponse]:
    """Measures a classifier on labeled texts; answers the operation that does it. Its result has
    ``report``, ``data``, ``model_version`` and, with ``include_html``, the report as a page.

    ``data`` and how files are read are as in ``train_classifier``. ``abstention_threshold``,
    ``threshold`` and ``truncate`` replace the classifier's own, see ``stillroom.ClassifyOptions``.

    Raises InvalidArgument (``field`` names what is wrong), NotFound (the classifier, an upload),
    PermissionDenied, FailedPrecondition (it is no classifier).
    """
    columns = Columns(text_column, label_column, label_separator, delimiter, file_format)
    _check_columns(columns, [data])
    checked = labeled.check(data, _columns_of(data, columns), "data")
    chosen = {
        "abstention_threshold": abstention_threshold,
        "threshold": threshold,
        "truncate": truncate,
    }
    some = any(value is not None for value in chosen.values())
    request = build(
        pb.EvaluateClassifierRequest,
        model=model,
        options=build(pb.ClassifyOptions, **chosen) if some else None,
        report_options=_report_options(
            confused_pairs=confused_pairs,
            examples_per_pair=examples_per_pair,
            calibration_bins=calibration_bins,
            include_html=include_html or None,
        ),
        request_id=request_id or core.new_id(),
    )
    request.data.CopyFrom(await labeled.send(core, checked, columns, "data", progress))
    return Started(core, await core.call(rpcs.EVALUATE_CLASSIFIER, request))


def _columns_of(source: Labeled, columns: Columns) -> Columns:
    """``columns`` are for files of this machine; any other source has none to be read by."""
    return columns if labeled.is_file(source) else Columns()


def _check_columns(columns: Columns, sources: list[Labeled]) -> None:
    if columns.given and not any(map(labeled.is_file, sources)):
        raise InvalidArgument(
            f"{columns.given[0]} says how a file of this machine is read, and none is given;"
            " labeled_source takes it for other sources",
            field=columns.given[0],
        )


def _split(
    validation_data: object, held_out: float | None, folds: int | None, unstratified: bool
) -> pb.ValidationSplit | None:
    values = {
        "validation_data": validation_data,
        "held_out": held_out,
        "folds": folds,
        "unstratified": unstratified or None,
    }
    given = [name for name, value in values.items() if value is not None]
    for one, other in (
        ("validation_data", "held_out"),
        ("validation_data", "folds"),
        ("validation_data", "unstratified"),
        ("held_out", "folds"),
    ):
        if one in given and other in given:
            raise InvalidArgument(
                f"{one} and {other} exclude each other", reason="ONE_OF", field=other
            )
    if validation_data is not None or not given:
        return None
    return build(
        pb.ValidationSplit, held_out=held_out, folds=folds, unstratified=unstratified or None
    )


def _report_options(**fields: int | bool | None) -> pb.ClassificationReportOptions | None:
    if all(value is None for value in fields.values()):
        return None
    return build(pb.ClassificationReportOptions, **fields)
