"""Whether probabilities mean what they say: the reliability curve and the errors read off it.

Expected and maximum calibration error with bins of equal width, after Naeini et al., Obtaining Well
Calibrated Probabilities Using Bayesian Binning (AAAI 2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stillroom_server.classification.report.arrays import (
    Between,
    Bools,
    Float64,
    Floats,
    Int64,
    pieces,
)


class Reliability:
    """Bins of equal width from 0 to 1 that probabilities are added to, piece by piece. A bin begins
    at its lower edge, included, and ends at its upper, excluded but for 1."""

    def __init__(self, bins: int) -> None:
        self.edges: Float64 = np.arange(bins + 1) / bins
        self._counts = np.zeros(bins, dtype=np.int64)
        self._sums = np.zeros(bins)
        self._right = np.zeros(bins, dtype=np.int64)

    def add(self, probabilities: Float64, right: Bools) -> None:
        """Two (n,): how likely something was said to be, and whether it was so."""
        bins = len(self._counts)
        found = np.searchsorted(self.edges[1:-1], probabilities, side="right")
        self._counts += np.bincount(found, minlength=bins)
        self._sums += np.bincount(found, weights=probabilities, minlength=bins)
        self._right += np.bincount(found[right], minlength=bins)

    def confidences(self) -> Float64:
        """(bins,): the mean probability of each; 0 where there is none."""
        return self._sums / np.maximum(self._counts, 1)

    def shares(self) -> Float64:
        """(bins,): the share that was right of each; 0 where there is none."""
        return self._right / np.maximum(self._counts, 1)

    def errors(self) -> tuple[float, float]:
        """Expected and maximum calibration error."""
        gaps = np.abs(self.shares() - self.confidences())  # 0 in empty bins
        total = max(1, int(self._counts.sum()))
        return float(gaps @ (self._counts / total)), float(gaps.max())

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {
                "lower": float(lower),
                "upper": float(upper),
                "count": int(count),
                "mean_confidence": float(confidence),
                "accuracy": float(share),
            }
            for lower, upper, count, confidence, share in zip(
                self.edges[:-1],
                self.edges[1:],
                self._counts,
                self.confidences(),
                self.shares(),
                strict=True,
            )
        ]


def of_best(probabilities: Floats, true: Int64, bins: int, between: Between) -> Reliability:
    """Of the best label of each text: probabilities (n, K), ``true`` int64 (n,), the index of the
    label that it has (K or more: one that has no probability)."""
    found = Reliability(bins)
    for piece in pieces(*probabilities.shape):
        between()
        block = probabilities[piece]
        best = block.argmax(axis=1)
        sure = block[np.arange(len(block)), best].astype(np.float64)
        found.add(np.clip(sure, 0.0, 1.0), best == true[piece])
    return found


def of_every_label(
    probabilities: Floats, targets: Bools, bins: int, between: Between
) -> Reliability:
    """Of every label of every text: two (n, K)."""
    found = Reliability(bins)
    for piece in pieces(*probabilities.shape):
        between()
        block = np.clip(probabilities[piece].astype(np.float64), 0.0, 1.0)
        found.add(block.ravel(), targets[piece].ravel())
    return found


def report(
    reliability: Reliability, brier: float, uncalibrated: Reliability | None, fitted_here: bool
) -> dict[str, Any]:
    """A CalibrationReport."""
    expected, largest = reliability.errors()
    found: dict[str, Any] = {
        "expected_calibration_error": expected,
        "maximum_calibration_error": largest,
        "brier_score": brier,
        "bins": reliability.to_json(),
        "fitted_here": fitted_here,
    }
    if uncalibrated is not None:
        found["uncalibrated_error"] = uncalibrated.errors()[0]
    return found
