from __future__ import annotations

import math

import numpy as np
import pytest

from inference.classifier.folders import LABELS, MULTI, describe
from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.classifier.answers import answer, only_named
from stillroom_server.inference.classifier.description import read_description
from stillroom_server.inference.classifier.plans import ClassifyOptions, ClassifyPlan, plan
from stillroom_server.inference.options import ElementType

SINGLE_LABEL = read_description(describe(temperature=1.0))
MULTI_LABEL = read_description(describe(task=MULTI, temperature=1.0))
SURE = np.array([[0, 9, 1, 2, 3], [1, 1, 1, 1, 1]], np.float32)
NONE = np.zeros(2, np.uint8)


def single(**options: object) -> ClassifyPlan:
    return plan(ClassifyOptions(**options), SINGLE_LABEL)  # type: ignore[arg-type]


def multi(**options: object) -> ClassifyPlan:
    return plan(ClassifyOptions(**options), MULTI_LABEL)  # type: ignore[arg-type]


def scores_for(probabilities: list[list[float]]) -> np.ndarray:
    found = np.array(probabilities)
    return np.log(found / (1 - found)).astype(np.float32)


@pytest.mark.parametrize("top_k", [0, 1])
def test_the_best_label_and_when_it_abstains(top_k: int) -> None:
    found = answer(SURE, NONE, single(top_k=top_k))
    assert found.label_counts.tolist() == [1, 1]
    assert found.label_indices.tolist() == [1, 0]
    best = math.exp(9) / sum(math.exp(x) for x in (0, 9, 1, 2, 3))
    np.testing.assert_allclose(found.probabilities, [best, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(found.confidences, found.probabilities)
    assert found.abstained is not None
    assert found.abstained.tolist() == [False, True]
    assert found.applies is None
    assert answer(SURE, NONE, single(top_k=top_k, abstention_threshold=0)).abstained is None


@pytest.mark.parametrize(("asked", "given"), [(2, 2), (5, 5), (99, 5)])
def test_more_labels_come_most_probable_first(asked: int, given: int) -> None:
    found = answer(SURE, NONE, single(top_k=asked))
    assert found.label_counts.tolist() == [given, given]
    assert found.label_indices.tolist() == [1, 4, 3, 2, 0][:given] + [0, 1, 2, 3, 4][:given]
    rows = found.probabilities.reshape(2, given)
    assert (np.diff(rows, axis=1) <= 0).all()
    np.testing.assert_allclose(found.confidences, rows[:, 0])
    assert found.applies is None


def test_a_warned_text_is_abstained_from_whatever_the_threshold() -> None:
    found = answer(SURE, np.array([2, 0], np.uint8), single(abstention_threshold=0.0))
    assert found.abstained is not None
    assert found.abstained.tolist() == [True, False]
    assert found.label_counts.tolist() == [1, 1]


def test_labels_that_apply_by_thresholds_of_their_own() -> None:
    scores = scores_for([[0.35, 0.45, 0.9, 0.55, 0.1], [0.1, 0.1, 0.1, 0.1, 0.1]])
    found = answer(scores, NONE, multi())  # thresholds 0.3 0.5 0.4 0.6 0.5
    assert found.label_counts.tolist() == [2, 0]
    assert found.label_indices.tolist() == [2, 0]
    np.testing.assert_allclose(found.probabilities, [0.9, 0.35], rtol=1e-5)
    sure = [0.35 * 0.55 * 0.9 * 0.45 * 0.9, 0.9**5]
    np.testing.assert_allclose(found.confidences, sure, rtol=1e-5)
    assert found.applies is None
    assert found.abstained is not None
    assert found.abstained.tolist() == [True, False]


def test_one_threshold_instead_of_them() -> None:
    scores = scores_for([[0.35, 0.45, 0.9, 0.55, 0.1]])
    found = answer(scores, NONE[:1], multi(threshold=0.44))
    assert found.label_indices.tolist() == [2, 3, 1]
    sure = 0.65 * 0.45 * 0.9 * 0.55 * 0.9
    np.testing.assert_allclose(found.confidences, [sure], rtol=1e-5)


def test_the_first_labels_say_whether_they_apply() -> None:
    scores = scores_for([[0.35, 0.45, 0.9, 0.55, 0.1], [0.5, 0.2, 0.1, 0.1, 0.05]])
    found = answer(scores, NONE, multi(top_k=3))
    assert found.label_counts.tolist() == [3, 3]
    assert found.label_indices.tolist() == [2, 3, 1, 0, 1, 2]
    assert found.applies is not None
    assert found.applies.tolist() == [True, False, False, True, False, False]
    np.testing.assert_allclose(
        answer(scores, NONE, multi()).confidences, found.confidences, rtol=1e-6
    )


def test_no_texts_have_no_answers() -> None:
    none = np.zeros((0, 5), np.float32)
    for how in (single(), single(top_k=2), multi(), multi(top_k=2)):
        found = answer(none, np.zeros(0, np.uint8), how)
        assert not found.label_counts.size
        assert not found.label_indices.size
        assert found.abstained is None


def test_only_the_labels_that_were_named() -> None:
    indices, labels = only_named(np.array([4, 1, 4], np.int32), LABELS)
    assert indices.tolist() == [1, 0, 1]
    assert labels == ["card", "top up"]


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"top_k": -1}, "top_k", "TOP_K_OUT_OF_RANGE"),
        ({"abstention_threshold": 1.01}, "abstention_threshold", None),
        ({"abstention_threshold": math.nan}, "abstention_threshold", None),
        ({"threshold": 0.5}, "threshold", "THRESHOLD_OF_SINGLE_LABEL"),
        ({"threshold": -0.5}, "threshold", "THRESHOLD_OUT_OF_RANGE"),
        (
            {"embedding_element_type": ElementType.INT8},
            "embedding_element_type",
            "ELEMENT_TYPE_WITHOUT_EMBEDDINGS",
        ),
    ],
)
def test_wrong_options_are_refused_by_name(
    options: dict[str, object], field: str, reason: str | None
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        single(**options)
    assert caught.value.field == f"options.{field}"
    assert caught.value.reason == (reason or f"{field.upper()}_OUT_OF_RANGE")


def test_the_plan_bounds_the_answer() -> None:
    assert single().most_labels == 1
    assert single(top_k=99).most_labels == 5
    assert multi().most_labels == 5
    assert multi(top_k=2).most_labels == 2
    assert single(include_embeddings=True).element_type is ElementType.FLOAT32
    assert single().element_type is None
    assert single(truncate=False).encoding.truncate is False
