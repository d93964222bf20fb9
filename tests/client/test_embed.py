"""Embed and EmbedStream through a real channel, against a server with scripted faults."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2

from client.fake_server import (
    EMBED,
    EMBED_STREAM,
    SERVER_INFO,
    FakeServer,
    FlakyStream,
    PatientAsyncTransport,
    PatientTransport,
    fail,
    status,
    stream_answer,
    vector,
)
from stillroom import AsyncClient, Client
from stillroom.errors import Internal, InvalidArgument, NotFound, Unavailable
from stillroom.v1 import common_pb2, server_service_pb2
from stillroom.v1 import embedding_service_pb2 as pb

TEXTS = [f"text number {index}" for index in range(1000)]
VECTORS = np.array([vector(text) for text in TEXTS], np.float32)


def test_a_short_list_goes_as_one_call(server: FakeServer, client: Client) -> None:
    vectors = client.embed(TEXTS[:3], model="fake")
    assert server.calls == [EMBED]
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, VECTORS[:3])
    vectors += 1  # the caller's own, not a view of the answer


def test_one_text_is_a_row(client: Client) -> None:
    np.testing.assert_array_equal(client.embed(TEXTS[5], model="fake"), VECTORS[5:6])


@pytest.mark.parametrize("make", [list, iter, np.array, tuple], ids=lambda m: m.__name__)
def test_long_input_goes_through_the_stream(server: FakeServer, client: Client, make: Any) -> None:
    np.testing.assert_array_equal(client.embed(make(TEXTS), model="fake"), VECTORS)
    assert server.calls == [SERVER_INFO, EMBED_STREAM]
    client.embed(make(TEXTS), model="fake")
    assert server.calls.count(SERVER_INFO) == 1  # asked for once


def test_long_texts_go_through_the_stream_in_small_items(
    server: FakeServer, client: Client
) -> None:
    texts = ["x" * 400_000] * 7
    assert client.embed(texts, model="fake")[:, 0].tolist() == [400_000.0] * 7
    assert [len(request.texts) for request in server.requests] == [2, 2, 2, 1]


def test_messages_keep_to_the_servers_limits(server: FakeServer, client: Client) -> None:
    limits = server_service_pb2.ServerLimits(max_texts=100, max_request_bytes=2000)
    server.answer(SERVER_INFO, server_service_pb2.GetServerInfoResponse(limits=limits))
    texts = [*TEXTS[:150], *["x" * 450] * 5]
    np.testing.assert_array_equal(client.embed(texts, model="fake"), [vector(t) for t in texts])
    sent = [request for request in server.requests if isinstance(request, pb.EmbedStreamRequest)]
    assert all(len(request.texts) <= 100 for request in sent)
    assert all(request.ByteSize() < 2000 for request in sent)
    assert len(sent) < 10


@pytest.mark.parametrize("reason", ["TOO_MANY_TEXTS", "REQUEST_TOO_LARGE", "RESPONSE_TOO_LARGE"])
def test_what_is_too_large_for_one_call_is_streamed(
    server: FakeServer, client: Client, reason: str
) -> None:
    refusal = status(code_pb2.INVALID_ARGUMENT, reason=reason)
    server.on(EMBED, lambda request, context: fail(context, refusal))
    np.testing.assert_array_equal(client.embed(TEXTS[:100], model="fake"), VECTORS[:100])
    with pytest.raises(InvalidArgument):
        client.embed(TEXTS[0], model="fake")  # one text cannot be split


def test_a_refusal_without_an_id_is_that_of_the_oldest_item(
    server: FakeServer, client: Client
) -> None:
    def behavior(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        next(requests)
        yield pb.EmbedStreamResponse(error=status(code_pb2.INVALID_ARGUMENT, "too large"))
        yield from map(stream_answer, requests)

    server.on(EMBED_STREAM, behavior)
    batches = list(client.embed_stream(TEXTS, model="fake", on_error="yield"))
    assert [batch.error is None for batch in batches] == [False, True, True, True]


def test_options_are_sent(server: FakeServer, client: Client) -> None:
    client.embed(
        "x",
        model="fake",
        truncate=False,
        truncation_direction="left",
        max_tokens=7,
        normalize=False,
        dimensions=2,
        prompt_name="query",
        element_type="float16",
    )
    assert server.requests[0].options == pb.EmbedOptions(
        truncate=False,
        truncation_direction=pb.TRUNCATION_DIRECTION_LEFT,
        max_tokens=7,
        normalize=False,
        dimensions=2,
        prompt_name="query",
        element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
    )
    client.embed("x", model="fake", truncate=None)
    assert not server.requests[1].options.HasField("truncate")
    client.embed("x", model="fake")
    assert not server.requests[2].HasField("options")


def test_progress_counts_texts(client: Client) -> None:
    seen: list[tuple[int, int | None]] = []
    client.embed(TEXTS, model="fake", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1000, 1000)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    seen.clear()
    client.embed(iter(TEXTS), model="fake", progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (1000, None)


def test_batches_know_their_texts(client: Client) -> None:
    batches = list(client.embed_stream(iter(TEXTS), model="fake", batch_size=300))
    assert [(b.start, b.stop) for b in batches] == [(0, 300), (300, 600), (600, 900), (900, 1000)]
    batch = batches[1]
    np.testing.assert_array_equal(batch.vectors, VECTORS[300:600])
    assert batch.model_version == "models/fake/versions/1"
    assert batch.token_counts.tolist() == [3] * 300
    assert batch.truncated.tolist() == [False] * 300
    assert batch.warnings == ()
    assert batch.dimensions == 2
    assert batch.scales is None


def test_no_texts(server: FakeServer, client: Client) -> None:
    assert list(client.embed_stream([], model="fake")) == []
    with pytest.raises(InvalidArgument) as caught:
        client.embed([], model="fake")
    assert (caught.value.field, caught.value.reason) == ("texts", "NO_TEXTS")
    assert EMBED not in server.calls
    assert EMBED_STREAM not in server.calls


@pytest.mark.parametrize("window", [1, 3])
def test_the_window_bounds_what_is_on_its_way(
    server: FakeServer, client: Client, window: int
) -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for text in TEXTS:
            read += 1
            yield text

    batches = client.embed_stream(texts(), model="fake", batch_size=10, window=window)
    for taken in range(1, 20):
        next(batches)
        assert read <= 10 * (taken + window)
    batches.close()
    assert read <= 10 * (19 + window)


def test_a_live_feed_is_answered_text_by_text(client: Client) -> None:
    answered: list[int] = []

    def feed() -> Iterator[str]:
        for index in range(5):
            assert len(answered) == index  # nothing is asked for before the last was answered
            yield TEXTS[index]

    batches = client.embed_stream(feed(), model="fake", batch_size=1, window=1)
    answered.extend(batch.start for batch in batches)
    assert answered == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("lives", [(0,), (3,), (1, 0, 2), (100,)])
def test_a_broken_stream_is_opened_again_and_the_rest_sent_again(
    server: FakeServer, client: Client, transport: PatientTransport, lives: tuple[int, ...]
) -> None:
    flaky = FlakyStream(*lives)
    server.on(EMBED_STREAM, flaky)
    batches = list(client.embed_stream(TEXTS, model="fake", batch_size=100, window=4))
    np.testing.assert_array_equal(np.concatenate([b.vectors for b in batches]), VECTORS)
    broken = sum(life < 10 for life in lives)
    assert flaky.opened == broken + 1
    assert len(transport.pauses) == broken
    assert all(pause >= 0.25 for pause in transport.pauses)  # what the server asked for


def test_a_stream_that_never_works_ends_with_its_error(
    server: FakeServer, client: Client, transport: PatientTransport
) -> None:
    server.on(EMBED_STREAM, FlakyStream(*[0] * 50))
    with pytest.raises(Unavailable, match="stopping"):
        list(client.embed_stream(TEXTS, model="fake"))
    assert len(transport.pauses) == 2


def test_progress_earns_patience(
    server: FakeServer, client: Client, transport: PatientTransport
) -> None:
    server.on(EMBED_STREAM, FlakyStream(1, *[0] * 50))
    with pytest.raises(Unavailable):
        list(client.embed_stream(TEXTS, model="fake"))
    assert len(transport.pauses) == 9


def test_a_stream_that_just_ends_is_opened_again(
    server: FakeServer, client: Client, transport: PatientTransport
) -> None:
    opened = 0

    def behavior(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        nonlocal opened
        opened += 1
        yield stream_answer(next(requests))
        if opened == 3:
            yield from map(stream_answer, requests)

    server.on(EMBED_STREAM, behavior)
    np.testing.assert_array_equal(client.embed(TEXTS, model="fake"), VECTORS)
    assert opened == 3


def with_bad_item(code: int, **details: Any) -> Any:
    """EmbedStream that answers the item with "bad" in it with an error, the first time."""
    done = threading.Event()

    def behavior(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            bad = [index for index, text in enumerate(request.texts) if text == "bad"]
            if bad and not done.is_set():
                done.set()
                where = f"texts[{bad[0]}]"
                error = status(code, f"{where} is too long", field=where, **details)
                yield pb.EmbedStreamResponse(error=error, correlation_id=request.correlation_id)
            else:
                yield stream_answer(request)

    return behavior


BAD = [*TEXTS[:25], "bad", *TEXTS[26:50]]


def test_a_bad_item_raises_and_says_which_text(server: FakeServer, client: Client) -> None:
    server.on(EMBED_STREAM, with_bad_item(code_pb2.INVALID_ARGUMENT))
    batches = client.embed_stream(BAD, model="fake", batch_size=10)
    assert [next(batches).start, next(batches).start] == [0, 10]
    with pytest.raises(InvalidArgument) as caught:
        next(batches)
    assert caught.value.field == "texts[25]"
    assert caught.value.message == "texts[25] is too long"


def test_a_bad_item_can_be_passed_over(server: FakeServer, client: Client) -> None:
    server.on(EMBED_STREAM, with_bad_item(code_pb2.INVALID_ARGUMENT))
    batches = list(client.embed_stream(BAD, model="fake", batch_size=10, on_error="yield"))
    assert [batch.error is None for batch in batches] == [True, True, False, True, True]
    assert len(batches[2]) == 10
    with pytest.raises(InvalidArgument):
        _ = batches[2].vectors


def test_an_unavailable_item_is_sent_again(
    server: FakeServer, client: Client, transport: PatientTransport
) -> None:
    server.on(EMBED_STREAM, with_bad_item(code_pb2.UNAVAILABLE))
    batches = list(client.embed_stream(BAD, model="fake", batch_size=10))
    assert [batch.start for batch in batches] == [0, 10, 20, 30, 40]
    assert all(batch.error is None for batch in batches)
    assert len(transport.pauses) == 1


def test_answers_out_of_order_are_refused(server: FakeServer, client: Client) -> None:
    def behavior(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        first, second = next(requests), next(requests)
        yield stream_answer(second)
        yield stream_answer(first)

    server.on(EMBED_STREAM, behavior)
    with pytest.raises(Internal) as caught:
        list(client.embed_stream(TEXTS, model="fake", batch_size=10))
    assert caught.value.reason == "OUT_OF_ORDER"


def malformed(change: Any) -> Any:
    def behavior(request: Any, context: Any) -> pb.EmbedResponse:
        answer = stream_answer(request)
        change(answer.embeddings)
        return pb.EmbedResponse(embeddings=answer.embeddings)

    return behavior


@pytest.mark.parametrize(
    "change",
    [
        lambda e: setattr(e.vectors, "count", 3),
        lambda e: setattr(e.vectors, "dimensions", 3),
        lambda e: setattr(e.vectors, "dimensions", -1),
        lambda e: e.vectors.float32.values.append(1.0),
        lambda e: e.vectors.ClearField("data"),
        lambda e: setattr(e.vectors, "float16", b"123"),
        lambda e: e.token_counts.append(1),
        lambda e: e.truncated.append(True),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    server: FakeServer, client: Client, change: Any
) -> None:
    server.on(EMBED, malformed(change))
    with pytest.raises(Internal) as caught:
        client.embed(["a", "b"], model="fake")
    assert caught.value.reason == "MALFORMED_ANSWER"


def test_element_types(server: FakeServer, client: Client) -> None:
    def answering(**data: Any) -> None:
        vectors = pb.Vectors(count=2, dimensions=4, **data)
        embeddings = pb.Embeddings(vectors=vectors)
        server.on(EMBED, lambda r, c: pb.EmbedResponse(embeddings=embeddings))

    half = np.arange(8, dtype="<f2")
    answering(float16=half.tobytes())
    vectors = client.embed(["a", "b"], model="fake", element_type="float16")
    assert vectors.dtype == np.float16
    assert vectors.tolist() == half.reshape(2, 4).tolist()

    values = np.array([[1, -2, 3, -4], [5, 6, 7, -128]], np.int8)
    answering(int8=pb.Int8Block(values=values.tobytes(), scales=[0.5, 2.0]))
    vectors = client.embed(["a", "b"], model="fake", element_type="int8")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[0.5, -1.0, 1.5, -2.0], [10.0, 12.0, 14.0, -256.0]]

    answering(binary=bytes([0b1010_0000, 0b0110_0000]))
    vectors = client.embed(["a", "b"], model="fake", element_type="binary")
    assert vectors.tolist() == [[0b1010_0000], [0b0110_0000]]

    answering(int8=pb.Int8Block(values=values.tobytes(), scales=[0.5]))
    with pytest.raises(Internal):
        client.embed(["a", "b"], model="fake", element_type="int8")


def test_warnings_and_truncation(server: FakeServer, client: Client) -> None:
    def behavior(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            answer = stream_answer(request)
            answer.embeddings.truncated.extend([True, False])
            answer.embeddings.warnings.add(index=1, kind=pb.TEXT_WARNING_KIND_EMPTY)
            answer.embeddings.warnings.add(index=0, kind=99)
            answer.embeddings.timings.infer_nanos = 1_500_000
            yield answer

    server.on(EMBED_STREAM, behavior)
    (batch,) = client.embed_stream(["a", ""], model="fake")
    assert batch.truncated.tolist() == [True, False]
    assert [(w.row, w.kind) for w in batch.warnings] == [(1, "empty"), (0, "99")]
    assert batch.timings["infer"] == 0.0015
    with pytest.raises(ValueError, match="read-only"):
        batch.vectors[0, 0] = 1


def test_a_model_that_changes_width_midway_is_refused(server: FakeServer, client: Client) -> None:
    def behavior(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for number, request in enumerate(requests):
            answer = stream_answer(request)
            if number == 2:
                block = answer.embeddings.vectors
                block.dimensions = 1
                del block.float32.values[block.count :]
            yield answer

    server.on(EMBED_STREAM, behavior)
    with pytest.raises(Internal, match="alias"):
        client.embed(TEXTS, model="fake")


BAD_INPUT: list[tuple[Any, dict[str, Any], str]] = [
    (5, {}, "texts"),
    (None, {}, "texts"),
    (b"bytes", {}, "texts"),
    (["a", 5], {}, "texts[1]"),
    (["a", b"b"], {}, "texts[1]"),
    (["a", None], {}, "texts[1]"),
    (["a", "b\ud800"], {}, "texts[1]"),
    ([*TEXTS, "\udfff"], {}, "texts[1000]"),
    ([*TEXTS, 7], {}, "texts[1000]"),
    ("a", {"model": 5}, "model"),
    ("a", {"dimensions": "many"}, "dimensions"),
    ("a", {"dimensions": 1 << 40}, "dimensions"),
    ("a", {"max_tokens": 1.5}, "max_tokens"),
    ("a", {"element_type": "float64"}, "element_type"),
    ("a", {"truncation_direction": "up"}, "truncation_direction"),
    ("a", {"prompt": "a", "prompt_name": "b"}, "prompt_name"),
    ("a", {"normalise": True}, "normalise"),
]


@pytest.mark.parametrize(("texts", "options", "field"), BAD_INPUT)
@pytest.mark.parametrize("method", ["embed", "embed_stream"])
def test_bad_input_names_the_field(
    client: Client, method: str, texts: Any, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        list(getattr(client, method)(texts, **{"model": "fake", **options}))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"batch_size": 0}, "batch_size"), ({"window": 0}, "window"), ({"on_error": "x"}, "on_error")],
)
def test_bad_settings_name_the_field(client: Client, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        list(client.embed_stream("a", model="fake", **settings))
    assert caught.value.field == field


def test_an_error_of_the_callers_iterable_reaches_the_caller(client: Client) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS[:500]
        raise Unavailable("the caller's own trouble")

    with pytest.raises(Unavailable, match="own trouble"):
        client.embed(texts(), model="fake")


def test_unary_is_retried_on_unavailable(server: FakeServer) -> None:
    attempts = 0

    def behavior(request: Any, context: grpc.ServicerContext) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            fail(context, status(code_pb2.UNAVAILABLE))
        return pb.EmbedResponse(embeddings=stream_answer(request).embeddings)

    server.on(EMBED, behavior)
    with Client(server.target) as client:
        assert client.embed("a", model="fake").shape == (1, 2)
    assert attempts == 3


def test_other_errors_are_not_retried(server: FakeServer, client: Client) -> None:
    server.on(EMBED, lambda r, context: fail(context, status(code_pb2.NOT_FOUND)))
    with pytest.raises(NotFound):
        client.embed("a", model="fake")
    assert server.calls == [EMBED]


async def test_the_asyncio_client_does_the_same(server: FakeServer) -> None:
    async def feed() -> AsyncIterator[str]:
        for text in TEXTS:
            yield text

    server.on(EMBED_STREAM, FlakyStream(2, 1))
    transport = PatientAsyncTransport(server.target)
    async with AsyncClient(transport=transport) as client:
        np.testing.assert_array_equal(await client.embed(TEXTS[:3], model="fake"), VECTORS[:3])
        np.testing.assert_array_equal(await client.embed(feed(), model="fake"), VECTORS)
        assert len(transport.pauses) == 2
        starts = [b.start async for b in client.embed_stream(TEXTS, model="fake")]
        assert starts == [0, 256, 512, 768]
        server.on(EMBED_STREAM, with_bad_item(code_pb2.INVALID_ARGUMENT))
        with pytest.raises(InvalidArgument) as caught:
            _ = [b async for b in client.embed_stream(BAD, model="fake", batch_size=10)]
        assert caught.value.field == "texts[25]"


def test_an_async_iterable_needs_the_asyncio_client(client: Client) -> None:
    async def feed() -> AsyncIterator[str]:
        import asyncio

        await asyncio.sleep(0)
        yield "a"

    with pytest.raises(RuntimeError, match="AsyncClient"):
        client.embed(feed(), model="fake")


def test_the_blocking_client_works_inside_an_event_loop(server: FakeServer) -> None:
    import asyncio

    async def main() -> None:
        with Client(server.target) as client:
            np.testing.assert_array_equal(client.embed(TEXTS, model="fake"), VECTORS)

    asyncio.run(main())


def test_a_closed_client_says_so(server: FakeServer) -> None:
    client = Client(server.target)
    client.embed("a", model="fake")
    client.close()
    with pytest.raises(Exception, match="closed") as caught:
        client.embed("a", model="fake")
    assert caught.value.reason == "CLIENT_CLOSED"  # type: ignore[attr-defined]


def test_threads_share_a_client(server: FakeServer) -> None:
    results: list[Any] = []
    with Client(server.target) as client:

        def work() -> None:
            results.append(client.embed(TEXTS, model="fake"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, VECTORS)
