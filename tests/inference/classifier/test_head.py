from __future__ import annotations

import numpy as np
import pytest

from inference.classifier.folders import MULTI, SINGLE, layers, sigmoid, softmax
from stillroom_server.inference.classifier.head import (
    Head,
    HeadArrays,
    confidences,
    probabilities,
)

SCORES = np.array([[1.0, 2.0, -1.0], [200.0, -200.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("task", ["single_label", SINGLE])
def test_one_label_has_probabilities_that_add_up(task: str) -> None:
    found = probabilities(SCORES, 2.0, task)
    np.testing.assert_allclose(found, [softmax(row, 2.0) for row in SCORES])
    np.testing.assert_array_equal(confidences(found, task), found.max(axis=1))


@pytest.mark.parametrize("task", ["multi_label", MULTI])
@pytest.mark.filterwarnings("error")
def test_each_of_many_labels_has_its_own(task: str) -> None:
    found = probabilities(SCORES.astype(np.float32), 0.5, task)
    assert found.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found, [sigmoid(row, 0.5) for row in SCORES], atol=1e-7)
    sure = confidences(np.array([[0.9, 0.2], [0.5, 0.6]]), task, [0.5, 0.7])
    np.testing.assert_allclose(sure, [0.9 * 0.8, 0.5 * 0.4])
    np.testing.assert_allclose(confidences(np.array([[0.9, 0.2]]), task, 0.1), [0.9 * 0.2])


def test_hidden_layers_have_relu_between() -> None:
    arrays = HeadArrays(layers(6, 3, (5, 4)))
    vectors = np.random.default_rng(0).standard_normal((7, 6)).astype(np.float32)
    (w0, b0), (w1, b1), (w2, b2) = arrays.layers
    hidden = np.maximum(np.maximum(vectors @ w0 + b0, 0) @ w1 + b1, 0)
    before = vectors.copy()
    np.testing.assert_allclose(Head(arrays).logits(vectors), hidden @ w2 + b2, rtol=1e-5)
    np.testing.assert_array_equal(vectors, before)
    assert (arrays.dimensions, arrays.outputs) == (6, 3)
