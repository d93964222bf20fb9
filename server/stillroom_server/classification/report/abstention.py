"""What abstaining brings: how many texts are answered, and how many of those answers are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from stillroom_server.classification.report.arrays import Bools, Floats

MOST_POINTS = 101


def report(
    confidences: Floats, right: Bools, silent: Bools | None, threshold: float
) -> dict[str, Any]:
    """An AbstentionReport.

    ``confidences`` (n,) and ``right`` bool (n,) of all texts; ``silent`` bool (n,) are
    those without a known token, which are never answered (None: there are none).
    """
    heard = np.ones(len(right), dtype=np.bool_) if silent is None else ~silent
    answered = heard & (confidences >= confidences.dtype.type(threshold))  # as in serving
    found: dict[str, Any] = {"threshold": float(threshold)}
    found |= _point(int(answered.sum()), int((answered & right).sum()), len(right))
    found["curve"] = curve(confidences[heard], right[heard], len(right))
    return found


def curve(confidences: Floats, right: Bools, texts: int) -> list[dict[str, Any]]:
    """AbstentionPoints from the texts that can be answered, (m,) of ``texts``: thresholds that each
    keep about a hundredth less of them, the first 0, the last the highest confidence."""
    order = np.argsort(confidences, kind="stable")
    ranked = confidences[order]
    rights = np.append(np.cumsum(right[order][::-1])[::-1], 0)  # right ones from each rank up
    places = np.round(np.linspace(0, len(ranked) - 1, MOST_POINTS)).astype(np.int64)
    thresholds = np.unique(ranked[places]) if len(ranked) else np.zeros(1)
    thresholds[0] = 0.0
    starts = np.searchsorted(ranked, thresholds, side="left")
    return [
        {"threshold": float(threshold)}
        | _point(len(ranked) - int(start), int(rights[start]), texts)
        for threshold, start in zip(thresholds, starts, strict=True)
    ]


def _point(answered: int, right: int, texts: int) -> dict[str, Any]:
    found = {"coverage": answered / texts}
    return found | ({"accuracy": right / answered} if answered else {})
