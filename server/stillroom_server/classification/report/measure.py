"""Measures a classifier by the probabilities that it gave to labeled texts.

The protocol's ClassificationReport says what each figure is. The same arguments give the same
report. Besides its arguments it holds some arrays of a byte or eight a text and, for a moment,
pieces of two million probabilities; a copy of all of them never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.report import (
    abstention,
    average_precision,
    calibration,
    scores,
)
from stillroom_server.classification.report.arrays import (
    Between,
    Bools,
    Float64,
    Floats,
    Int64,
    as_type_of,
    check_probabilities,
)
from stillroom_server.classification.report.mistakes import confused_pairs
from stillroom_server.classification.report.options import ReportOptions
from stillroom_server.classification.report.tasks import MultiLabel, SingleLabel, Task
from stillroom_server.classification.report.unknown import Extra, spread

SINGLE_LABEL = "CLASSIFICATION_TASK_SINGLE_LABEL"
MULTI_LABEL = "CLASSIFICATION_TASK_MULTI_LABEL"


def measure(
    labels: Sequence[str],
    task: str,
    targets: Int64 | Bools,
    probabilities: Floats,
    *,
    texts: Sequence[str],
    indices: Int64 | None = None,
    thresholds: Sequence[float] | Float64 | None = None,
    abstention_threshold: float = 0.0,
    options: object = None,
    uncalibrated: Floats | None = None,
    fitted_here: bool = False,
    extra_labels: Extra | None = None,
    silent: Bools | None = None,
    between: Between = lambda: None,
) -> dict[str, Any]:
    """A ClassificationReport of n texts and K ``labels``, those of the classifier in its order.

    ``task``: SINGLE_LABEL or MULTI_LABEL.
    ``targets``: single-label int64 (n,), the index of each text's label, -1 for one that the
    classifier does not know; multi-label bool (n, K).
    ``probabilities``: (n, K), float32 or float64, calibrated; ``uncalibrated``: the same before.
    ``texts``: of each row; ``indices``: int64 (n,), their places in the data (None: 0, 1, ...).
    ``thresholds``: (K,), multi-label only, where each label applies; reached at equality, compared,
    as ``abstention_threshold``, in the type of the probabilities.
    ``abstention_threshold``: below this confidence it abstains.
    ``options``: ReportOptions, or the JSON of ClassificationReportOptions.
    ``extra_labels``: by row, the names of labels that the classifier does not know, as
    ``unknown_labels`` gives them; single-label: one for each target of -1.
    ``silent``: bool (n,), texts without a known token, which it abstains from whatever the
    threshold (None: there are none).
    ``between`` is called every few tenths of a second (cancellation).

    Raises InvalidArgument (NO_DATA) without texts, and for bad options; Internal
    (PROBABILITIES_INVALID) for probabilities that are none or of another shape; ValueError for
    targets and extra labels that do not fit together.
    """
    wanted = options if isinstance(options, ReportOptions) else ReportOptions.from_json(options)
    rows, known = len(texts), len(labels)
    if not rows:
        raise InvalidArgument("there is no text to measure", reason="NO_DATA", field="data")
    for values in (probabilities, uncalibrated):
        if values is not None:
            check_probabilities(values, rows, known, between)
    more, extra = spread(extra_labels or {}, known)
    names, bins = (*labels, *more), wanted.calibration_bins
    found: Task
    if task == SINGLE_LABEL:
        applies = None
        own = np.asarray(targets, dtype=np.int64)
        found = SingleLabel(probabilities, own, extra, names, bins, between)
    elif task == MULTI_LABEL and thresholds is not None:
        applies = np.asarray(thresholds, dtype=np.float64)
        having = np.asarray(targets, dtype=np.bool_)
        found = MultiLabel(probabilities, having, applies, extra, names, bins, between)
    else:
        raise ValueError(f"{task!r} is no task, or has no thresholds")
    came = found.outcome
    support = came.true_positives + came.false_negatives
    precisions: list[float | None] = [
        *average_precision.average_precisions(probabilities, found.rows_with, between),
        # What the classifier does not know has probability 0 everywhere: one threshold, at which
        # every text is given it.
        *(count / rows if count < rows else None for count in support[known:].tolist()),
    ]
    report = {
        "task": task,
        "example_count": rows,
        "accuracy": float(came.right.mean()),
        **scores.averages(came),
        "labels": scores.labels(
            names, came, precisions, None if applies is None else applies.tolist()
        ),
        "confused_pairs": confused_pairs(
            found.pairs(wanted.confused_pairs),
            found.rows_confused,
            names=names,
            support=support,
            probabilities=probabilities,
            texts=texts,
            indices=np.arange(rows) if indices is None else indices,
            examples=wanted.examples_per_pair,
            between=between,
        ),
        "calibration": calibration.report(
            came.reliability,
            came.brier,
            None if uncalibrated is None else found.reliability_of(uncalibrated),
            fitted_here,
        ),
        "abstention": abstention.report(
            as_type_of(came.confidences, probabilities), came.right, silent, abstention_threshold
        ),
    }
    if not more:
        report["log_loss"] = came.log_loss
    matrix = found.matrix()
    return report if matrix is None else {**report, "confusion": matrix}
