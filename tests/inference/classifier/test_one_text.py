"""The best of one text's scores, whatever they are."""

from __future__ import annotations

import numpy as np
import pytest

from stillroom_server.inference.classifier import one_text


@pytest.mark.parametrize("scale", [1e-3, 1.0, 500.0])
@pytest.mark.parametrize("labels", [2, 77, 256, 257, 3000])
def test_the_best_label_and_its_softmax(labels: int, scale: float) -> None:
    rng = np.random.default_rng(labels)
    for _ in range(20):
        scores = (scale * rng.standard_normal(labels)).astype(np.float32)
        exact = np.exp(scores.astype(np.float64) - scores.max())
        best, probability = one_text._best(scores)
        assert best == scores.argmax()
        assert probability == pytest.approx(exact.max() / exact.sum(), rel=1e-5)


@pytest.mark.parametrize("labels", [5, 500])
def test_the_first_of_equals_is_best(labels: int) -> None:
    best, probability = one_text._best(np.zeros(labels, np.float32))
    assert (best, probability) == (0, pytest.approx(1 / labels))
