"""Precision, recall and F1, label by label and of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stillroom_server.classification.report.outcome import Outcome


def averages(outcome: Outcome) -> dict[str, float]:
    """``macro_f1`` and ``weighted_f1`` over the labels that occur in the data, ``micro_f1`` over
    all; 0 where there is nothing to average."""
    support = outcome.true_positives + outcome.false_negatives
    doubled = 2 * outcome.true_positives
    whole = doubled + outcome.false_positives + outcome.false_negatives
    f1 = doubled / np.maximum(whole, 1)
    occurs = support > 0
    texts = int(support.sum())
    return {
        "macro_f1": float(f1[occurs].mean()) if texts else 0.0,
        "weighted_f1": float(f1 @ support) / texts if texts else 0.0,
        "micro_f1": int(doubled.sum()) / max(1, int(whole.sum())),
    }


def labels(
    names: Sequence[str],
    outcome: Outcome,
    precisions: Sequence[float | None],
    thresholds: Sequence[float] | None,
) -> list[dict[str, Any]]:
    """LabelReports. ``precisions``: the average precision of each name; ``thresholds``: those of
    the labels that the classifier knows (None for single-label)."""
    found = []
    for index, (name, right, false, missed) in enumerate(
        zip(
            names,
            outcome.true_positives.tolist(),
            outcome.false_positives.tolist(),
            outcome.false_negatives.tolist(),
            strict=True,
        )
    ):
        entry: dict[str, Any] = {
            "label": name,
            "support": right + missed,
            "true_positives": right,
            "false_positives": false,
            "false_negatives": missed,
        }
        for key, part, whole in (
            ("precision", right, right + false),
            ("recall", right, right + missed),
            ("f1", 2 * right, 2 * right + false + missed),
        ):
            if whole:
                entry[key] = part / whole
        precision = precisions[index]
        if precision is not None:
            entry["average_precision"] = precision
        if thresholds is not None and index < len(thresholds):
            entry["threshold"] = thresholds[index]
        found.append(entry)
    return found
