"""Answers of classifiers that tests measure."""

from __future__ import annotations

from typing import Any

import numpy as np

from stillroom_server.classification.report.measure import MULTI_LABEL, SINGLE_LABEL, measure

LABELS = ("bill", "card", "loan", "rate")


def single_label(
    texts: int = 500, labels: int = 4, seed: int = 3, dtype: type = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Targets (n,) and probabilities (n, K) that are right more often than not; some are equal."""
    random = np.random.default_rng(seed)
    targets = random.choice(labels, texts, p=np.arange(1, labels + 1) / sum(range(labels + 1)))
    scores = random.normal(size=(texts, labels)) * 1.5
    scores[np.arange(texts), targets] += 1.5
    scores = np.round(scores, 1)
    odds = np.exp(scores)
    return targets, (odds / odds.sum(axis=1, keepdims=True)).astype(dtype)


def multi_label(
    texts: int = 500, labels: int = 4, seed: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets bool (n, K), probabilities (n, K), thresholds (K,)."""
    random = np.random.default_rng(seed)
    targets = random.random((texts, labels)) < np.linspace(0.1, 0.6, labels)
    scores = np.round(random.normal(size=(texts, labels)) * 1.5 + 3.0 * targets - 1.5, 1)
    return targets, 1.0 / (1.0 + np.exp(-scores)), np.linspace(0.3, 0.6, labels)


def words(texts: int) -> list[str]:
    return [f"text {index}" for index in range(texts)]


def single_report(**options: Any) -> dict[str, Any]:
    targets, probabilities = single_label()
    return measure(
        LABELS, SINGLE_LABEL, targets, probabilities, texts=words(len(targets)), **options
    )


def multi_report(**options: Any) -> dict[str, Any]:
    targets, probabilities, thresholds = multi_label()
    return measure(
        LABELS,
        MULTI_LABEL,
        targets,
        probabilities,
        texts=words(len(targets)),
        thresholds=thresholds,
        **options,
    )
