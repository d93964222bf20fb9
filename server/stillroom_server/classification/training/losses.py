"""What training minimizes, and its derivative by the scores.

Cross-entropy; with ``gamma`` the focal loss of Lin et al. 2017 (arXiv 1708.02002), with
``smoothing`` a share of the true label's probability spread over all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.inference.engines.base import Float32

_LEAST = 1e-7


@dataclass(frozen=True)
class Loss:
    """``weights`` float32 (K,): of a text with the label (single-label; they average 1 over the
    training texts), or of a label's texts that have it (multi-label). None: all 1."""

    multi_label: bool
    weights: Float32 | None = None
    gamma: float = 0.0
    smoothing: float = 0.0

    def gradient(self, scores: Float32, targets: NDArray[Any]) -> tuple[float, Float32]:
        """The loss summed over n texts (multi-label: and labels), and its derivative (n, K).

        scores float32 (n, K), which are overwritten; targets int (n,), none unknown, or bool
        (n, K).
        """
        return self._multi(scores, targets) if self.multi_label else self._single(scores, targets)

    def value(self, scores: Float32, targets: NDArray[Any]) -> float:
        """The mean over texts of known labels (multi-label: and labels); 0 where there are none."""
        if not self.multi_label:
            known = targets >= 0
            scores, targets = scores[known], targets[known]
        if not len(targets):
            return 0.0
        total, _ = self.gradient(scores.copy(), targets)
        return total / (len(targets) * (scores.shape[1] if self.multi_label else 1))

    def _single(self, scores: Float32, targets: NDArray[Any]) -> tuple[float, Float32]:
        rows = np.arange(len(scores))
        scores -= scores.max(axis=1, keepdims=True)
        weights = None if self.weights is None else self.weights[targets]
        if not self.gamma and not self.smoothing:
            chosen = scores[rows, targets]
            np.exp(scores, out=scores)
            sums = scores.sum(axis=1)
            losses = np.log(sums) - chosen
            scores /= sums[:, None]
            scores[rows, targets] -= 1.0
        else:
            logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
            likely = np.exp(logs)
            share = np.full_like(scores, self.smoothing / scores.shape[1])
            share[rows, targets] += 1.0 - self.smoothing
            value, slope = self._focal(likely, logs)
            losses = (share * value).sum(axis=1)
            slope *= share
            scores = slope - likely * slope.sum(axis=1, keepdims=True)
        if weights is not None:
            losses = losses * weights
            scores *= weights[:, None]
        return float(losses.sum(dtype=np.float64)), scores

    def _multi(self, scores: Float32, targets: NDArray[Any]) -> tuple[float, Float32]:
        truth = targets.astype(np.float32)
        truth *= 1.0 - self.smoothing
        truth += self.smoothing / 2.0
        small = np.log1p(np.exp(-np.abs(scores)))
        there = np.minimum(scores, 0.0) - small  # log of the probability that it is there
        absent = np.minimum(-scores, 0.0) - small
        likely, unlikely = np.exp(there), np.exp(absent)
        value, slope = self._focal(likely, there)
        other_value, other_slope = self._focal(unlikely, absent)
        if self.weights is not None:
            value *= self.weights
            slope *= self.weights
        losses = truth * value + (1.0 - truth) * other_value
        gradient = truth * slope * unlikely - (1.0 - truth) * other_slope * likely
        return float(losses.sum(dtype=np.float64)), gradient

    def _focal(self, likely: Float32, logs: Float32) -> tuple[Float32, Float32]:
        """f = -(1 - p)^gamma log p of probabilities p, and p f'(p)."""
        if not self.gamma:
            return -logs, np.full_like(logs, -1.0)
        rest = np.maximum(1.0 - likely, _LEAST).astype(np.float32)
        power = rest**self.gamma
        return -power * logs, self.gamma * likely * (power / rest) * logs - power


def label_weights(
    targets: NDArray[Any],
    labels: tuple[str, ...],
    weighting: str,
    given: dict[str, float] | None,
) -> Float32 | None:
    """The ``weights`` of a Loss, float32 (K,), None where all are 1. ``targets`` are those trained
    on; ``weighting`` is none or balanced, ``given`` the weights by label that replace it."""
    multi = targets.ndim == 2
    count = len(labels)
    support = targets.sum(axis=0) if multi else np.bincount(targets, minlength=count)
    support = support.astype(np.float64)
    if given is not None:
        weights = np.array([given.get(label, 1.0) for label in labels])
    elif weighting != "balanced":
        return None
    elif multi:
        weights = np.minimum((len(targets) - support) / np.maximum(support, 1.0), 100.0)
        weights = np.maximum(weights, 1e-3)  # a label that every text has still counts
    else:
        weights = 1.0 / np.maximum(support, 1.0)
    if not multi:
        weights = weights * (support.sum() / (weights * support).sum())
    return weights.astype(np.float32)
