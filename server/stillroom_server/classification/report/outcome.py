"""What came of classifying: every text counted once, in both kinds of tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stillroom_server.classification.report.arrays import (
    Between,
    Bools,
    Float64,
    Floats,
    Int64,
    pieces,
)
from stillroom_server.classification.report.calibration import Reliability

_LEAST = float(np.finfo(np.float64).eps)  # the least probability whose logarithm is taken


@dataclass(frozen=True)
class Outcome:
    """Of n texts and L labels, those that only the data have among them.

    ``true_positives``, ``false_positives``, ``false_negatives``: int64 (L,). ``right``: bool (n,),
    whether the whole answer is right. ``confidences``: float64 (n,). ``log_loss``: mean, in nats,
    no probability below 2.2e-16; it means nothing where a text has a label that the classifier does
    not know. ``brier``: as CalibrationReport defines it. ``given``: int64 (n,), the index of the
    best label; empty for multi-label.
    """

    true_positives: Int64
    false_positives: Int64
    false_negatives: Int64
    right: Bools
    confidences: Float64
    log_loss: float
    brier: float
    reliability: Reliability
    given: Int64


def of_single_label(
    probabilities: Floats, true: Int64, labels: int, bins: int, between: Between
) -> Outcome:
    """``probabilities`` (n, K); ``true`` int64 (n,), indices below ``labels``, of which those from
    K are unknown to the classifier."""
    rows, columns = probabilities.shape
    given = np.empty(rows, dtype=np.int64)
    confidences = np.empty(rows)
    reliability = Reliability(bins)
    loss = brier = 0.0
    for piece in pieces(rows, columns):
        between()
        block = np.clip(probabilities[piece].astype(np.float64), 0.0, 1.0)
        each = np.arange(len(block))
        given[piece] = probabilities[piece].argmax(axis=1)
        confidences[piece] = block[each, given[piece]]
        reliability.add(confidences[piece], given[piece] == true[piece])
        known = true[piece] < columns
        own = np.where(known, block[each, np.where(known, true[piece], 0)], 0.0)
        loss -= float(np.log(np.maximum(own, _LEAST)).sum())
        brier += float(np.einsum("nk,nk->", block, block) - 2.0 * own.sum()) + len(block)
    right = given == true
    positives = np.bincount(true[right], minlength=labels)
    return Outcome(
        true_positives=positives,
        false_positives=np.bincount(given, minlength=labels) - positives,
        false_negatives=np.bincount(true, minlength=labels) - positives,
        right=right,
        confidences=confidences,
        log_loss=loss / rows,
        brier=max(0.0, brier / rows),
        reliability=reliability,
        given=given,
    )


def of_multi_label(
    probabilities: Floats,
    thresholds: Floats,
    targets: Bools,
    extra: tuple[Int64, Int64],
    labels: int,
    bins: int,
    between: Between,
) -> Outcome:
    """``probabilities`` and ``targets`` (n, K), ``thresholds`` (K,); ``extra`` are rows and labels
    (from K to ``labels``) of what texts have and the classifier does not know."""
    rows, columns = probabilities.shape
    counts = np.zeros((3, labels), dtype=np.int64)
    counts[2] = np.bincount(extra[1], minlength=labels)
    right = np.empty(rows, dtype=np.bool_)
    confidences = np.empty(rows)
    reliability = Reliability(bins)
    loss = brier = 0.0
    for piece in pieces(rows, columns):
        between()
        block = np.clip(probabilities[piece].astype(np.float64), 0.0, 1.0)
        having, given = targets[piece], probabilities[piece] >= thresholds
        for index, which in enumerate((having & given, given & ~having, having & ~given)):
            counts[index, :columns] += which.sum(axis=0)
        right[piece] = (having == given).all(axis=1)
        with np.errstate(divide="ignore"):
            sure = np.log(np.where(given, block, 1.0 - block)).sum(axis=1)
        confidences[piece] = np.exp(sure)
        reliability.add(block.ravel(), having.ravel())
        own = np.where(having, block, 1.0 - block)
        loss -= float(np.log(np.maximum(own, _LEAST)).sum())
        brier += float(np.square(1.0 - own).sum())
    right[extra[0]] = False
    return Outcome(
        true_positives=counts[0],
        false_positives=counts[1],
        false_negatives=counts[2],
        right=right,
        confidences=confidences,
        log_loss=loss / probabilities.size,
        brier=brier / probabilities.size,
        reliability=reliability,
        given=np.empty(0, dtype=np.int64),
    )
