"""Classify and ClassifyStream through a real channel, against a server with scripted faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2

from client.fake_server import (
    CLASSIFY,
    CLASSIFY_STREAM,
    SERVER_INFO,
    FakeServer,
    FlakyStream,
    PatientAsyncTransport,
    PatientTransport,
    classifications,
    classify_answer,
    fail,
    status,
)
from stillroom import AsyncClient, Classification, Client, Label
from stillroom.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    StillroomError,
    Unavailable,
)
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2, server_service_pb2
from stillroom.v1 import embedding_service_pb2 as embedding

TEXTS = [f"text number {index}{'?' * (index % 3 == 0)}" for index in range(1000)]
LABELS = ["odd" if len(text) % 2 else "even" for text in TEXTS]
UNSURE = [text.endswith("?") for text in TEXTS]


def test_a_short_list_goes_as_one_call(server: FakeServer, client: Client) -> None:
    found = client.classify(TEXTS[:5], model="fake")
    assert server.calls == [CLASSIFY]
    assert not server.requests[0].HasField("options")
    assert len(found) == 5
    assert found.labels == LABELS[:5]
    assert found.probabilities.tolist() == [0.75] * 5
    assert found.abstained.tolist() == UNSURE[:5]
    assert found.confidences.tolist() == [0.25 if unsure else 0.75 for unsure in UNSURE[:5]]
    assert found.model_version == "models/fake/versions/1"
    assert found.embeddings is None
    assert found.warnings == ()
    assert repr(found) == "<Classifications 0:5 models/fake/versions/1>"


def test_it_is_a_sequence_of_what_each_text_is(client: Client) -> None:
    found = client.classify(["aa", "a?b"], model="fake", top_k=2)
    assert found[0] == Classification(
        labels=(Label("even", 0.75), Label("odd", 0.25)),
        confidence=0.75,
        abstained=False,
        token_count=1,
        truncated=False,
        warning=None,
    )
    assert (found[0].label, found[0].probability) == ("even", 0.75)
    assert found[-1] == found[1]
    assert (found[1].label, found[1].abstained) == ("odd", True)
    assert list(found) == [found[0], found[1]] == found[:]
    assert found[1:] == [found[1]]
    assert found[5:] == []
    with pytest.raises(IndexError):
        _ = found[2]
    assert found.label_sets == [("even", "odd"), ("odd", "even")]
    assert found.label_counts.tolist() == [2, 2]
    assert [found.classes[index] for index in found.label_indices] == ["even", "odd", "odd", "even"]


@pytest.mark.parametrize("make", [list, iter, np.array, tuple], ids=lambda m: m.__name__)
def test_long_input_goes_through_the_stream(server: FakeServer, client: Client, make: Any) -> None:
    found = client.classify(make(TEXTS), model="fake")
    assert server.calls == [SERVER_INFO, CLASSIFY_STREAM]
    assert (found.start, found.stop) == (0, 1000)
    assert found.labels == LABELS
    assert found.abstained.tolist() == UNSURE
    assert found.token_counts.tolist() == [3] * 1000
    assert [text.label for text in found] == LABELS


def test_labels_are_joined_by_their_names(server: FakeServer, client: Client) -> None:
    """Each answer lists the labels that it names, so the same index means another one elsewhere."""
    texts = ["a"] * 300 + ["bb"] * 300 + ["c", "dd"] * 100
    found = client.classify(texts, model="fake")
    assert found.labels == ["odd"] * 300 + ["even"] * 300 + ["odd", "even"] * 100
    assert sorted(found.classes) == ["even", "odd"]


@pytest.mark.parametrize("reason", ["TOO_MANY_TEXTS", "REQUEST_TOO_LARGE", "RESPONSE_TOO_LARGE"])
def test_what_is_too_large_for_one_call_is_streamed(
    server: FakeServer, client: Client, reason: str
) -> None:
    refusal = status(code_pb2.INVALID_ARGUMENT, reason=reason)
    server.on(CLASSIFY, lambda request, context: fail(context, refusal))
    assert client.classify(TEXTS[:100], model="fake").labels == LABELS[:100]
    with pytest.raises(InvalidArgument):
        client.classify(TEXTS[0], model="fake")  # one text cannot be split


def test_messages_keep_to_the_servers_limits(server: FakeServer, client: Client) -> None:
    limits = server_service_pb2.ServerLimits(max_texts=100, max_request_bytes=2000)
    server.answer(SERVER_INFO, server_service_pb2.GetServerInfoResponse(limits=limits))
    assert client.classify(TEXTS[:150], model="fake").labels == LABELS[:150]
    sent = [request for request in server.requests if isinstance(request, pb.ClassifyStreamRequest)]
    assert [request.model for request in sent] == ["fake"] * len(sent)
    assert all(request.ByteSize() < 2000 for request in sent)


def test_options_are_sent(server: FakeServer, client: Client) -> None:
    expected = pb.ClassifyOptions(
        top_k=3,
        abstention_threshold=0.0,
        threshold=0.5,
        truncate=False,
        include_embeddings=True,
        embedding_element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
    )
    options: dict[str, Any] = {
        "top_k": 3,
        "abstention_threshold": 0.0,
        "threshold": 0.5,
        "truncate": False,
        "include_embeddings": True,
        "embedding_element_type": "float16",
    }
    client.classify("x", model="fake", **options)
    list(client.classify_stream("x", model="fake", **options))
    assert [request.options for request in server.requests if hasattr(request, "options")] == [
        expected
    ] * 2
    client.classify("x", model="fake", top_k=None)
    assert server.requests[-1].options == pb.ClassifyOptions()  # type: ignore[attr-defined]


def test_batches_know_their_texts(client: Client) -> None:
    batches = list(client.classify_stream(iter(TEXTS), model="fake", batch_size=300))
    assert [(b.start, b.stop) for b in batches] == [(0, 300), (300, 600), (600, 900), (900, 1000)]
    assert [label for batch in batches for label in batch.labels] == LABELS


@pytest.mark.parametrize("window", [1, 3])
def test_the_window_bounds_what_is_on_its_way(client: Client, window: int) -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for text in TEXTS:
            read += 1
            yield text

    batches = client.classify_stream(texts(), model="fake", batch_size=10, window=window)
    for taken in range(1, 20):
        next(batches)
        assert read <= 10 * (taken + window)
    batches.close()


@pytest.mark.parametrize("lives", [(0,), (3,), (1, 0, 2)])
def test_a_broken_stream_is_opened_again_and_the_rest_sent_again(
    server: FakeServer, client: Client, transport: PatientTransport, lives: tuple[int, ...]
) -> None:
    flaky = FlakyStream(*lives, answer=classify_answer)
    server.on(CLASSIFY_STREAM, flaky)
    batches = list(client.classify_stream(TEXTS, model="fake", batch_size=100, window=4))
    assert [label for batch in batches for label in batch.labels] == LABELS
    assert flaky.opened == len(lives) + 1
    assert len(transport.pauses) == len(lives)


def test_a_stream_that_never_works_ends_with_its_error(server: FakeServer, client: Client) -> None:
    server.on(CLASSIFY_STREAM, FlakyStream(*[0] * 50, answer=classify_answer))
    with pytest.raises(Unavailable, match="stopping"):
        client.classify(TEXTS, model="fake")


def refusing(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    """ClassifyStream that answers the item with "bad" in it with an error."""
    for request in requests:
        bad = [index for index, text in enumerate(request.texts) if text == "bad"]
        if bad:
            where = f"texts[{bad[0]}]"
            error = status(code_pb2.INVALID_ARGUMENT, f"{where} is too long", field=where)
            yield pb.ClassifyStreamResponse(error=error, correlation_id=request.correlation_id)
        else:
            yield classify_answer(request)


BAD = [*TEXTS[:25], "bad", *TEXTS[26:50]]


def test_a_bad_item_raises_and_says_which_text(server: FakeServer, client: Client) -> None:
    server.on(CLASSIFY_STREAM, refusing)
    with pytest.raises(InvalidArgument) as caught:
        list(client.classify_stream(BAD, model="fake", batch_size=10))
    assert caught.value.field == "texts[25]"


def test_a_bad_item_can_be_passed_over(server: FakeServer, client: Client) -> None:
    server.on(CLASSIFY_STREAM, refusing)
    batches = list(client.classify_stream(BAD, model="fake", batch_size=10, on_error="yield"))
    assert [batch.error is None for batch in batches] == [True, True, False, True, True]
    assert len(batches[2]) == 10
    for attribute in ("labels", "confidences", "classes", "model_version"):
        with pytest.raises(InvalidArgument):
            getattr(batches[2], attribute)
    with pytest.raises(InvalidArgument):
        list(batches[2])


def answering(server: FakeServer, found: pb.Classifications) -> None:
    server.answer(CLASSIFY, pb.ClassifyResponse(classifications=found))


def test_several_labels_or_none(server: FakeServer, client: Client) -> None:
    answer = pb.Classifications(
        labels=["a", "b", "c"],
        label_counts=[2, 0, 1],
        label_indices=[2, 0, 1],
        probabilities=[0.5, 0.25, 1.0],
        applies=[True, False, True],
        confidences=[0.5, 0.125, 1.0],
        truncated=[False, False, True],
    )
    answer.warnings.add(index=1, kind=embedding.TEXT_WARNING_KIND_EMPTY)
    answer.timings.head_nanos = 2_500_000
    answering(server, answer)
    found = client.classify(["x", "", "z"], model="fake")
    assert found.labels == ["c", None, "b"]
    assert found.label_sets == [("c",), (), ("b",)]
    assert found.probabilities.tolist() == [0.5, 0.0, 1.0]
    assert found.label_applies.tolist() == [True, False, True]
    assert found[0].labels == (Label("c", 0.5), Label("a", 0.25, applies=False))
    assert (found[1].label, found[1].probability, found[1].warning) == (None, 0.0, "empty")
    assert found[2].truncated
    assert found.abstained.tolist() == [False] * 3
    assert found.timings["head"] == 0.0025


def test_vectors_come_along(server: FakeServer, client: Client) -> None:
    answer = classifications(["a", "b"])
    half = np.arange(8, dtype="<f2")
    block = embedding.Vectors(count=2, dimensions=4, float16=half.tobytes())
    answer.embeddings.CopyFrom(block)
    answering(server, answer)
    found = client.classify(["a", "b"], model="fake").embeddings
    assert found is not None
    assert found.dtype == np.float16
    assert found.tolist() == half.reshape(2, 4).tolist()

    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            answered = classify_answer(request)
            vectors = answered.classifications.embeddings  # type: ignore[attr-defined]
            vectors.count, vectors.dimensions = len(request.texts), 1
            vectors.float32.values.extend(float(text.split()[-1]) for text in request.texts)
            yield answered

    server.on(CLASSIFY_STREAM, stream)
    numbered = [f"text {index}" for index in range(700)]
    many = client.classify(numbered, model="fake", include_embeddings=True)
    assert many.embeddings is not None
    assert many.embeddings[:, 0].tolist() == list(range(700))


def test_warnings_of_a_long_input_count_from_its_start(server: FakeServer, client: Client) -> None:
    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            answer: Any = classify_answer(request)
            if "" in request.texts:
                place = list(request.texts).index("")
                answer.classifications.warnings.add(
                    index=place, kind=embedding.TEXT_WARNING_KIND_EMPTY
                )
            answer.classifications.timings.total_nanos = 1_000_000_000
            yield answer

    server.on(CLASSIFY_STREAM, stream)
    found = client.classify([*TEXTS[:600], "", *TEXTS[600:]], model="fake")
    assert [(warning.row, warning.kind) for warning in found.warnings] == [(600, "empty")]
    assert found[600].warning == "empty"
    assert found.timings["total"] == 5.0  # 129 texts, looked at for a call, then 256 at a time


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.label_counts.append(0),
        lambda a: a.label_counts.__setitem__(0, 2),
        lambda a: a.label_counts.__setitem__(slice(None), [3, -1]),
        lambda a: a.label_indices.__setitem__(0, 7),
        lambda a: a.label_indices.__setitem__(0, -1),
        lambda a: a.probabilities.append(0.5),
        lambda a: a.applies.append(True),
        lambda a: a.confidences.append(0.5),
        lambda a: a.ClearField("confidences"),
        lambda a: a.ClearField("label_counts"),
        lambda a: a.ClearField("labels"),
        lambda a: a.abstained.append(True),
        lambda a: a.token_counts.append(1),
        lambda a: a.embeddings.SetInParent(),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    server: FakeServer, client: Client, change: Any
) -> None:
    answer = classifications(["a", "bb"])
    change(answer)
    answering(server, answer)
    with pytest.raises(Internal) as caught:
        client.classify(["a", "bb"], model="fake")
    assert caught.value.reason == "MALFORMED_ANSWER"


BAD_INPUT: list[tuple[Any, dict[str, Any], str]] = [
    (5, {}, "texts"),
    (["a", 5], {}, "texts[1]"),
    ("a", {"model": 5}, "model"),
    ("a", {"top_k": "many"}, "top_k"),
    ("a", {"top_k": 1 << 40}, "top_k"),
    ("a", {"abstention_threshold": "low"}, "abstention_threshold"),
    ("a", {"embedding_element_type": "float64"}, "embedding_element_type"),
    ("a", {"topk": 3}, "topk"),
]


@pytest.mark.parametrize(("texts", "options", "field"), BAD_INPUT)
@pytest.mark.parametrize("method", ["classify", "classify_stream"])
def test_bad_input_names_the_field(
    client: Client, method: str, texts: Any, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        list(getattr(client, method)(texts, **{"model": "fake", **options}))
    assert caught.value.field == field


def test_no_texts(server: FakeServer, client: Client) -> None:
    assert list(client.classify_stream([], model="fake")) == []
    with pytest.raises(InvalidArgument, match="classify") as caught:
        client.classify([], model="fake")
    assert (caught.value.field, caught.value.reason) == ("texts", "NO_TEXTS")


def test_what_is_no_classifier(server: FakeServer, client: Client) -> None:
    refusal = status(code_pb2.FAILED_PRECONDITION, reason="NOT_A_CLASSIFIER", field="model")
    server.on(CLASSIFY, lambda request, context: fail(context, refusal))
    with pytest.raises(FailedPrecondition) as caught:
        client.classify("a", model="mini")
    assert caught.value.reason == "NOT_A_CLASSIFIER"


def test_progress_counts_texts(client: Client) -> None:
    seen: list[tuple[int, int | None]] = []
    client.classify(TEXTS, model="fake", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1000, 1000)


async def test_the_asyncio_client_does_the_same(server: FakeServer) -> None:
    async def feed() -> AsyncIterator[str]:
        for text in TEXTS:
            yield text

    server.on(CLASSIFY_STREAM, FlakyStream(2, 1, answer=classify_answer))
    transport = PatientAsyncTransport(server.target)
    async with AsyncClient(transport=transport) as client:
        assert (await client.classify(TEXTS[:3], model="fake")).labels == LABELS[:3]
        assert (await client.classify(feed(), model="fake")).labels == LABELS
        assert len(transport.pauses) == 2
        starts = [b.start async for b in client.classify_stream(TEXTS, model="fake")]
        assert starts == [0, 256, 512, 768]
        server.on(CLASSIFY_STREAM, refusing)
        with pytest.raises(StillroomError) as caught:
            _ = [b async for b in client.classify_stream(BAD, model="fake", batch_size=10)]
        assert caught.value.field == "texts[25]"
