"""Answers of Classify as bytes: those of the public messages, and never more than was expected."""

from __future__ import annotations

import numpy as np
import pytest

from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.classifier.classified import Classified, ClassifyTimings
from stillroom_server.inference.classifier.head import Task
from stillroom_server.inference.classifier.one_text import OneAnswer
from stillroom_server.inference.classifier.plans import (
    DEFAULT_CLASSIFY_OPTIONS,
    ClassifyOptions,
    ClassifyPlan,
)
from stillroom_server.inference.encoding import encode
from stillroom_server.inference.options import DEFAULT_OPTIONS, ElementType
from stillroom_server.rpc import classify_messages, wire
from stillroom_server.rpc.classify_messages import Labels

NAME = "models/c/versions/123456"
DIMENSIONS = 40


def names(number: int, size: int = 1) -> list[str]:
    return [f"é{index}".ljust(size, "x") for index in range(number)]


def result_of(
    rows: int,
    labels: int,
    *,
    each: int | None = 1,
    applies: bool = False,
    odd: bool = False,
    vectors: bool = False,
) -> Classified:
    """Random columns; ``each`` None: a random number of labels each; ``odd``: every other text was
    cut, abstained from and warned of."""
    rng = np.random.default_rng(rows)
    if each is None:
        counts = rng.integers(0, labels + 1, rows, dtype=np.int32)
    else:
        counts = np.full(rows, each, np.int32)
    total = int(counts.sum())
    flags = np.arange(rows) % 2 == int(odd)
    flags &= odd
    return Classified(
        counts,
        rng.integers(0, labels, total, dtype=np.int32),
        rng.random(total, np.float32),
        rng.random(total) > 0.5 if applies else None,
        rng.random(rows, np.float32),
        flags if odd else None,
        rng.integers(0, 9_000, rows, dtype=np.int32),
        flags,
        (flags * 2).astype(np.uint8),
        rng.standard_normal((rows, DIMENSIONS), np.float32) if vectors else None,
        ClassifyTimings(0.001, 0.002, 0.0005, 0.25),
    )


def encoded(
    result: Classified, labels: list[str], element_type: ElementType | None = None
) -> tuple[pb.ClassifyResponse, bytes]:
    request = pb.ClassifyRequest(correlation_id="é" * 70)
    summary = classify_messages.summarize(result)
    data = classify_messages.response(
        request, NAME, result, Labels(labels), summary, element_type, 0.5
    )
    answer = pb.ClassifyResponse.FromString(data)
    assert answer.correlation_id == request.correlation_id
    return answer, data


@pytest.mark.parametrize("rows", [1, 3, 700])
@pytest.mark.parametrize("labels", [1, 7, 300, 20_000])
@pytest.mark.parametrize(
    ("each", "applies", "odd"),
    [(1, False, False), (1, False, True), (5, True, True), (0, False, False)],
)
def test_answers_written_by_hand_are_the_public_message(
    rows: int, labels: int, each: int, applies: bool, odd: bool
) -> None:
    result = result_of(rows, labels, each=each, applies=applies, odd=odd)
    answer, data = encoded(result, names(labels))
    assert answer.SerializeToString(deterministic=True) == data
    found = answer.classifications
    known = names(labels)
    assert found.model_version == NAME
    assert list(found.label_counts) == result.label_counts.tolist()
    given = [found.labels[index] for index in found.label_indices]
    assert given == [known[index] for index in result.label_indices]
    assert list(found.labels) == sorted(set(found.labels), key=known.index)
    assert list(found.probabilities) == result.probabilities.tolist()
    assert list(found.applies) == ([] if result.applies is None else result.applies.tolist())
    assert list(found.confidences) == result.confidences.tolist()
    flags = result.truncated.tolist()
    told = flags if any(flags) else []
    assert list(found.abstained) == list(found.truncated) == told
    assert [w.index for w in found.warnings] == np.flatnonzero(flags).tolist()
    assert {w.kind for w in found.warnings} <= {embedding.TEXT_WARNING_KIND_ALL_UNKNOWN}
    assert list(found.token_counts) == result.tokens.tolist()
    assert not found.HasField("embeddings")
    timings = found.timings
    assert (timings.total_nanos, timings.queue_nanos) == (500_000_000, 250_000_000)
    assert (timings.tokenize_nanos, timings.infer_nanos) == (1_000_000, 2_000_000)
    assert timings.head_nanos == 500_000


@pytest.mark.parametrize("rows", [1, 9, 300])
def test_texts_with_any_number_of_labels(rows: int) -> None:
    result = result_of(rows, 12, each=None)
    answer, data = encoded(result, names(12))
    assert answer.SerializeToString(deterministic=True) == data
    assert sum(answer.classifications.label_counts) == len(result.probabilities)


@pytest.mark.parametrize("element_type", list(ElementType))
@pytest.mark.parametrize("rows", [1, 300])
def test_vectors_go_with_them(element_type: ElementType, rows: int) -> None:
    result = result_of(rows, 3, vectors=True, odd=True)
    assert result.vectors is not None
    answer, data = encoded(result, names(3), element_type)
    assert answer.SerializeToString(deterministic=True) == data
    vectors = answer.classifications.embeddings
    assert (vectors.count, vectors.dimensions) == (rows, DIMENSIONS)
    block = getattr(vectors, element_type.value)
    expected = encode(result.vectors, element_type)
    if element_type is ElementType.FLOAT32:
        assert np.array(block.values, "<f4").tobytes() == expected.data
    elif element_type is ElementType.INT8:
        assert expected.scales is not None
        assert (block.values, list(block.scales)) == (expected.data, expected.scales.tolist())
    else:
        assert block == expected.data


@pytest.mark.parametrize("abstained", [False, True])
@pytest.mark.parametrize("index", [0, 2])
def test_one_text_is_answered_alike(index: int, abstained: bool) -> None:
    value = float(np.float32(0.7))
    found = OneAnswer(index, value, abstained, 300, 0.001, 0.002, 0.003, 7.0)
    labels = Labels(names(3))
    data = classify_messages.one_response(NAME, found, labels, "c", pb.ClassifyTimings())
    assert len(data) <= labels.one_answer_bytes
    answer = pb.ClassifyStreamResponse.FromString(data)
    assert answer.SerializeToString(deterministic=True) == data
    assert answer == pb.ClassifyStreamResponse(
        classifications=pb.Classifications(
            model_version=NAME,
            labels=[names(3)[index]],
            label_counts=[1],
            label_indices=[0],
            probabilities=[value],
            confidences=[value],
            abstained=[True] if abstained else [],
            token_counts=[300],
            timings=pb.ClassifyTimings(
                total_nanos=6_000_000,
                tokenize_nanos=1_000_000,
                infer_nanos=2_000_000,
                head_nanos=3_000_000,
            ),
        ),
        correlation_id="c",
    )


@pytest.mark.parametrize("labels", [1, 77, 20_000])
@pytest.mark.parametrize("rows", [1, 256])
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("each", [1, 9])
def test_no_answer_is_larger_than_expected(
    labels: int, rows: int, vectors: bool, each: int
) -> None:
    each = min(each, labels)
    known = names(labels, 256)
    result = result_of(rows, labels, each=each, applies=True, odd=True, vectors=vectors)
    result = result._replace(label_indices=np.arange(rows * each, dtype=np.int32)[::-1] % labels)
    element_type = ElementType.FLOAT32 if vectors else None
    how = ClassifyPlan(
        Task.MULTI_LABEL, labels, each, np.float32(0.5), 0.0, DEFAULT_OPTIONS, element_type
    )
    _, data = encoded(result, known, element_type)
    most = classify_messages.answer_bytes(rows, Labels(known), DIMENSIONS, how)
    assert len(data) <= most <= 1.25 * len(data) + 1024 + 40 * rows


@pytest.mark.parametrize("most", [1, 127, 128, 16_383, 16_384, 2**31 - 1])
def test_varints_of_arrays(most: int) -> None:
    values = np.random.default_rng(most).integers(0, most, 500, endpoint=True)
    values[:4] = 0, most, most // 2, min(most, 127)
    assert wire.varints(values) == b"".join(wire.varint(int(value)) for value in values)
    assert wire.varints(values[:0]) == b""


def test_options() -> None:
    assert classify_messages.options(pb.ClassifyRequest()) is DEFAULT_CLASSIFY_OPTIONS
    unset = pb.ClassifyRequest(options=pb.ClassifyOptions())
    assert classify_messages.options(unset) is DEFAULT_CLASSIFY_OPTIONS
    given = pb.ClassifyOptions(
        top_k=3,
        abstention_threshold=0.0,
        threshold=0.25,
        truncate=False,
        include_embeddings=True,
        embedding_element_type=common_pb2.ELEMENT_TYPE_INT8,
    )
    assert classify_messages.options(pb.ClassifyStreamRequest(options=given)) == ClassifyOptions(
        3, 0.0, 0.25, truncate=False, include_embeddings=True,
        embedding_element_type=ElementType.INT8,
    )  # fmt: skip
    few = classify_messages.options(pb.ClassifyRequest(options=pb.ClassifyOptions(top_k=1)))
    assert few == ClassifyOptions(top_k=1)
    wrong = pb.ClassifyOptions(embedding_element_type=77)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument) as caught:
        classify_messages.options(pb.ClassifyRequest(options=wrong))
    assert caught.value.field == "options.embedding_element_type"
