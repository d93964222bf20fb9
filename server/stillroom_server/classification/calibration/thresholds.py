"""Where each label of a multi-label classifier begins to apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.option_parts import Rule

RARE = 5
"""Texts with a label below which it gets the threshold of all labels together."""
DEFAULT = 0.5
_LEAST, _MOST = 1e-6, 1.0 - 1e-6


@dataclass(frozen=True)
class Thresholds:
    """``values`` float64 (K,): a label applies from its value on. ``shared``: the labels that are
    too rare for one of their own."""

    values: NDArray[np.float64]
    shared: tuple[int, ...]


def choose_thresholds(
    probabilities: NDArray[np.floating[Any]], targets: NDArray[np.bool_], rule: Rule | None
) -> Thresholds:
    """By ``rule``, None: the best F1; probabilities and targets (n, K) of validation texts."""
    labels = probabilities.shape[1]
    if rule is not None and rule.name == "fixed":
        return Thresholds(np.full(labels, rule.value), ())
    support = targets.sum(axis=0)
    rare = np.flatnonzero((support < RARE) | (support == len(targets)))
    values = np.full(labels, DEFAULT)
    if len(rare):
        values[rare] = _chosen(probabilities.ravel(), targets.ravel(), rule)
    for label in np.setdiff1d(np.arange(labels), rare).tolist():
        values[label] = _chosen(probabilities[:, label], targets[:, label], rule)
    return Thresholds(values, tuple(rare.tolist()))


def _chosen(
    probabilities: NDArray[np.floating[Any]], truth: NDArray[np.bool_], rule: Rule | None
) -> float:
    positives = int(truth.sum())
    if not positives:
        return DEFAULT
    order = np.argsort(-probabilities, kind="stable")
    values = probabilities[order].astype(np.float64)
    # After each distinct value: what would be given at that threshold.
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    hits = np.cumsum(truth[order])[last]
    asked = last + 1
    precision, recall = hits / asked, hits / positives
    if rule is None:
        best = int(np.argmax(2.0 * hits / (asked + positives)))
    elif rule.name == "minimum_precision":
        enough = np.flatnonzero(precision >= rule.value)
        # The lowest threshold that has it, else the most precise.
        best = int(enough[-1]) if len(enough) else int(np.argmax(precision))
    else:
        best = int(np.flatnonzero(recall >= rule.value)[0])  # all are recalled at the last
    return _between(values[last], best)


def _between(values: NDArray[np.float64], at: int) -> float:
    """In the middle between this value and the next lower, so that rounding moves no text."""
    below = values[at + 1] if at + 1 < len(values) else 0.0
    return float(np.clip((values[at] + below) / 2.0, _LEAST, _MOST))
