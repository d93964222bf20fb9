from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from inference.students import naive_vector, write_student
from serving import Details, Serving

from stillroom.internal.v1 import embedding_wire_pb2 as wire
from stillroom.v1 import common_pb2
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom_server.inference.encoding import encode
from stillroom_server.inference.options import ElementType
from stillroom_server.inference.results import EmbedResult, Timings
from stillroom_server.rpc import embed_messages

TEXTS = ["my new card", "the exchange rate was charged twice", "help"]
DIMENSIONS = 24


@pytest.fixture(scope="module")
def stub(server: Serving) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(server.channel)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("same") / "student")


def matrix(answer: pb.EmbedResponse | pb.EmbedStreamResponse) -> np.ndarray:
    vectors = answer.embeddings.vectors
    return np.array(vectors.float32.values).reshape(vectors.count, vectors.dimensions)


def refused(stub: EmbeddingServiceStub, request: pb.EmbedRequest) -> Details:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Embed(request)
    return Details(caught.value)


def test_embed_answers_the_defined_vectors(stub: EmbeddingServiceStub, student: Path) -> None:
    answer = stub.Embed(pb.EmbedRequest(model="s", texts=TEXTS, correlation_id="é-7"))
    expected = np.stack([naive_vector(student, text) for text in TEXTS])
    np.testing.assert_allclose(matrix(answer), expected, atol=1e-6)
    assert answer.embeddings.model_version == "models/s/versions/2"
    assert answer.correlation_id == "é-7"
    assert list(answer.embeddings.token_counts) == [3, 6, 1]
    assert not answer.embeddings.truncated
    assert not answer.embeddings.warnings
    timings = answer.embeddings.timings
    assert 0 < timings.tokenize_nanos + timings.infer_nanos <= timings.total_nanos


@pytest.mark.parametrize("ref", ["s@1", "models/s/versions/1"])
def test_a_version_can_be_named(stub: EmbeddingServiceStub, ref: str) -> None:
    answer = stub.Embed(pb.EmbedRequest(model=ref, texts=["card"]))
    assert answer.embeddings.model_version == "models/s/versions/1"


def test_options_change_only_their_request(stub: EmbeddingServiceStub, student: Path) -> None:
    options = pb.EmbedOptions(
        max_tokens=2,
        dimensions=5,
        normalize=False,
        truncation_direction=pb.TRUNCATION_DIRECTION_LEFT,
    )

    def cut(_: int) -> np.ndarray:
        return matrix(stub.Embed(pb.EmbedRequest(model="s", texts=TEXTS, options=options)))

    def whole(_: int) -> np.ndarray:
        return matrix(stub.Embed(pb.EmbedRequest(model="s", texts=TEXTS)))

    expected_cut = np.stack(
        [
            naive_vector(student, t, max_tokens=2, left=True, normalize=False, dimensions=5)
            for t in TEXTS
        ]
    )
    expected_whole = np.stack([naive_vector(student, t) for t in TEXTS])
    with ThreadPoolExecutor(8) as threads:
        both = [(threads.submit(cut, i), threads.submit(whole, i)) for i in range(40)]
    for first, second in both:
        np.testing.assert_allclose(first.result(), expected_cut, atol=1e-6)
        np.testing.assert_allclose(second.result(), expected_whole, atol=1e-6)


def test_truncation_is_told_per_text(stub: EmbeddingServiceStub) -> None:
    options = pb.EmbedOptions(max_tokens=3)
    answer = stub.Embed(pb.EmbedRequest(model="s", texts=TEXTS, options=options))
    assert list(answer.embeddings.truncated) == [False, True, False]
    assert list(answer.embeddings.token_counts) == [3, 3, 1]


def test_empty_and_unknown_texts_get_zeros_and_a_warning(stub: EmbeddingServiceStub) -> None:
    answer = stub.Embed(pb.EmbedRequest(model="s", texts=["card", "", "☃☃"]))
    assert [(w.index, w.kind) for w in answer.embeddings.warnings] == [
        (1, pb.TEXT_WARNING_KIND_EMPTY),
        (2, pb.TEXT_WARNING_KIND_ALL_UNKNOWN),
    ]
    norms = np.linalg.norm(matrix(answer), axis=1)
    np.testing.assert_allclose(norms, [1, 0, 0], atol=1e-6)


def test_element_types(stub: EmbeddingServiceStub) -> None:
    def ask(element_type: common_pb2.ElementType) -> pb.Vectors:
        options = pb.EmbedOptions(element_type=element_type)
        request = pb.EmbedRequest(model="s", texts=TEXTS, options=options)
        vectors: pb.Vectors = stub.Embed(request).embeddings.vectors
        return vectors

    exact = np.array(ask(common_pb2.ELEMENT_TYPE_FLOAT32).float32.values).reshape(3, DIMENSIONS)
    half = np.frombuffer(ask(common_pb2.ELEMENT_TYPE_FLOAT16).float16, "<f2")
    np.testing.assert_allclose(half.reshape(3, DIMENSIONS), exact, atol=1e-3)
    int8 = ask(common_pb2.ELEMENT_TYPE_INT8).int8
    values = np.frombuffer(int8.values, np.int8).reshape(3, DIMENSIONS)
    np.testing.assert_allclose(values * np.array(int8.scales)[:, None], exact, atol=5e-3)
    bits = np.frombuffer(ask(common_pb2.ELEMENT_TYPE_BINARY).binary, np.uint8)
    unpacked = np.unpackbits(bits.reshape(3, -1), axis=1)[:, :DIMENSIONS]
    np.testing.assert_array_equal(unpacked, exact > 0)


@pytest.mark.parametrize(
    ("request_", "code", "field", "reason"),
    [
        (pb.EmbedRequest(model="nope", texts=["x"]), "NOT_FOUND", "model", "MODEL_NOT_FOUND"),
        (pb.EmbedRequest(model="s@9", texts=["x"]), "NOT_FOUND", "model", "VERSION_NOT_FOUND"),
        (pb.EmbedRequest(model="s@gone", texts=["x"]), "NOT_FOUND", "model", "ALIAS_NOT_FOUND"),
        (pb.EmbedRequest(model="No!", texts=["x"]), "INVALID_ARGUMENT", "model", "BAD_MODEL_NAME"),
        (pb.EmbedRequest(texts=["x"]), "INVALID_ARGUMENT", "model", "MODEL_REQUIRED"),
        (pb.EmbedRequest(model="t", texts=["x"]), "FAILED_PRECONDITION", "model", "NOT_A_MODEL"),
        (pb.EmbedRequest(model="s"), "INVALID_ARGUMENT", "texts", "NO_TEXTS"),
        (
            pb.EmbedRequest(model="s", texts=["x"] * 65),
            "INVALID_ARGUMENT",
            "texts",
            "TOO_MANY_TEXTS",
        ),
        (
            pb.EmbedRequest(model="s", texts=["a", "x" * 10_001]),
            *("INVALID_ARGUMENT", "texts[1]", "TEXT_TOO_LARGE"),
        ),
        (
            pb.EmbedRequest(model="s", texts=["x"] * 60),
            *("INVALID_ARGUMENT", "texts", "RESPONSE_TOO_LARGE"),
        ),
        (
            pb.EmbedRequest(model="s", texts=["x" * 9_000] * 7),
            *("INVALID_ARGUMENT", "", "REQUEST_TOO_LARGE"),
        ),
        (
            pb.EmbedRequest(model="s", texts=["x"], correlation_id="i" * 257),
            *("INVALID_ARGUMENT", "correlation_id", "CORRELATION_ID_TOO_LONG"),
        ),
    ],
)
def test_bad_requests(
    stub: EmbeddingServiceStub, request_: pb.EmbedRequest, code: str, field: str, reason: str
) -> None:
    details = refused(stub, request_)
    assert (details.code.name, details.field, details.info.reason) == (code, field, reason)
    assert details.message


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        (pb.EmbedOptions(dimensions=25), "options.dimensions", "DIMENSIONS_OUT_OF_RANGE"),
        (pb.EmbedOptions(dimensions=-1), "options.dimensions", "DIMENSIONS_OUT_OF_RANGE"),
        (pb.EmbedOptions(max_tokens=-1), "options.max_tokens", "MAX_TOKENS_OUT_OF_RANGE"),
        (pb.EmbedOptions(max_tokens=513), "options.max_tokens", "MAX_TOKENS_OUT_OF_RANGE"),
        (pb.EmbedOptions(prompt_name="q"), "options.prompt_name", "PROMPT_NOT_FOUND"),
        (pb.EmbedOptions(element_type=99), "options.element_type", "UNKNOWN_VALUE"),  # type: ignore[arg-type]
        (
            pb.EmbedOptions(truncation_direction=99),  # type: ignore[arg-type]
            *("options.truncation_direction", "UNKNOWN_VALUE"),
        ),
        (pb.EmbedOptions(truncate=False, max_tokens=2), "texts[1]", "TEXT_TOO_LONG"),
    ],
)
def test_bad_options(
    stub: EmbeddingServiceStub, options: pb.EmbedOptions, field: str, reason: str
) -> None:
    texts = ["my card", "my new card"]
    details = refused(stub, pb.EmbedRequest(model="s", texts=texts, options=options))
    assert (details.code.name, details.field) == ("INVALID_ARGUMENT", field)
    assert details.info.reason == reason


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x12\x02\xff\xfe"])
def test_malformed_messages_are_the_callers_fault(server: Serving, data: bytes) -> None:
    call = server.channel.unary_unary("/stillroom.v1.EmbeddingService/Embed")
    with pytest.raises(grpc.RpcError) as caught:
        call(data)
    details = Details(caught.value)
    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.info.reason == "MALFORMED_MESSAGE"


def test_a_stream_answers_in_order_and_survives_bad_items(server: Serving) -> None:
    call = server.channel.stream_stream(
        "/stillroom.v1.EmbeddingService/EmbedStream",
        response_deserializer=pb.EmbedStreamResponse.FromString,
    )

    def items() -> Iterator[bytes]:
        yield pb.EmbedStreamRequest(texts=["x"], correlation_id="no model").SerializeToString()
        yield pb.EmbedStreamRequest(
            model="s", texts=["card"], correlation_id="1"
        ).SerializeToString()
        yield b"\xff\xff"
        yield pb.EmbedStreamRequest(texts=["my card"], correlation_id="2").SerializeToString()
        yield pb.EmbedStreamRequest(model="nope", texts=["x"]).SerializeToString()
        yield pb.EmbedStreamRequest(model="s@1", correlation_id="empty").SerializeToString()
        yield pb.EmbedStreamRequest(texts=["a"] * 64, correlation_id="big").SerializeToString()
        yield pb.EmbedStreamRequest(texts=["pin"], correlation_id="3").SerializeToString()

    answers = list(call(items()))
    kinds = [
        Details(a.error).info.reason if a.HasField("error") else a.embeddings.model_version
        for a in answers
    ]
    assert kinds == [
        "MODEL_REQUIRED",
        "models/s/versions/2",
        "MALFORMED_MESSAGE",
        "models/s/versions/2",
        "MODEL_NOT_FOUND",
        "NO_TEXTS",
        "RESPONSE_TOO_LARGE",
        "models/s/versions/1",
    ]
    ids = [answer.correlation_id for answer in answers]
    assert ids == ["no model", "1", "", "2", "", "empty", "big", "3"]


def test_tokenize_shows_ids_tokens_and_offsets(stub: EmbeddingServiceStub) -> None:
    answer = stub.Tokenize(pb.TokenizeRequest(model="s", texts=["My card", "é"], max_tokens=1))
    assert answer.model_version == "models/s/versions/2"
    first = answer.results[0]
    assert list(first.tokens) == ["my"]
    assert (list(first.starts), list(first.ends)) == ([0], [2])
    assert len(first.ids) == 1
    with pytest.raises(grpc.RpcError) as caught:
        stub.Tokenize(pb.TokenizeRequest(model="s", texts=["x"], max_tokens=-1))
    assert Details(caught.value).field == "max_tokens"


@pytest.mark.parametrize("element_type", list(ElementType))
@pytest.mark.parametrize("rows", [1, 3, 700])
def test_answers_written_by_hand_are_the_public_message(
    element_type: ElementType, rows: int
) -> None:
    rng = np.random.default_rng(rows)
    flags = np.arange(rows) % 2 == 1
    result = EmbedResult(
        rng.standard_normal((rows, 40), dtype=np.float32),
        rng.integers(0, 9_000, rows, dtype=np.int32),
        flags,
        (flags * 2).astype(np.uint8),
        Timings(0.001, 0.002),
    )
    request = pb.EmbedRequest(correlation_id="é" * 70)
    summary = embed_messages.summarize(result)
    name = "models/s/versions/123456"
    data = embed_messages.response(request, name, result, summary, element_type, 0.5)
    answer = pb.EmbedResponse.FromString(data)
    assert answer.SerializeToString(deterministic=True) == data
    assert answer.correlation_id == request.correlation_id
    embeddings = answer.embeddings
    assert embeddings.model_version == name
    assert list(embeddings.truncated) == (flags.tolist() if flags.any() else [])
    assert list(embeddings.token_counts) == result.tokens.tolist()
    assert [w.index for w in embeddings.warnings] == np.flatnonzero(flags).tolist()
    assert embeddings.timings.total_nanos == 500_000_000
    vectors = embeddings.vectors
    assert (vectors.count, vectors.dimensions) == (rows, 40)
    encoded = encode(result.vectors, element_type)
    block = getattr(vectors, element_type.value)
    if element_type is ElementType.FLOAT32:
        assert np.array(block.values, "<f4").tobytes() == encoded.data
    elif element_type is ElementType.INT8:
        assert encoded.scales is not None
        assert (block.values, list(block.scales)) == (encoded.data, encoded.scales.tolist())
    else:
        assert block == encoded.data


def public_twins() -> list[tuple[pb.EmbedResponse, wire.WireEmbedResponse]]:
    floats = np.arange(6, dtype="<f4")
    scales = np.array([0.5, 2], "<f4")
    common = {
        "model_version": "models/s/versions/1",
        "token_counts": [1, 300],
        "truncated": [False, True],
        "warnings": [pb.TextWarning(index=1, kind=pb.TEXT_WARNING_KIND_EMPTY)],
        "timings": pb.EmbedTimings(total_nanos=5, infer_nanos=2),
    }
    shape = {"count": 2, "dimensions": 3}
    values = os.urandom(6)
    pairs = [
        (
            pb.Vectors(**shape, float32=pb.FloatBlock(values=floats.tolist())),
            wire.WireVectors(**shape, float32=wire.WireFloatBlock(values=floats.tobytes())),
        ),
        (
            pb.Vectors(**shape, int8=pb.Int8Block(values=values, scales=scales.tolist())),
            wire.WireVectors(
                **shape, int8=wire.WireInt8Block(values=values, scales=scales.tobytes())
            ),
        ),
        (pb.Vectors(**shape, float16=values), wire.WireVectors(**shape, float16=values)),
        (pb.Vectors(**shape, binary=values), wire.WireVectors(**shape, binary=values)),
    ]
    return [
        (
            pb.EmbedResponse(
                embeddings=pb.Embeddings(vectors=public, **common), correlation_id="c"
            ),
            wire.WireEmbedResponse(
                embeddings=wire.WireEmbeddings(vectors=private, **common), correlation_id="c"
            ),
        )
        for public, private in pairs
    ]


@pytest.mark.parametrize(("public", "private"), public_twins())
def test_wire_messages_equal_their_public_twins(
    public: pb.EmbedResponse, private: wire.WireEmbedResponse
) -> None:
    encoded = public.SerializeToString(deterministic=True)
    assert private.SerializeToString(deterministic=True) == encoded
    item = pb.EmbedStreamResponse.FromString(encoded)
    assert item.embeddings == public.embeddings
    assert item.SerializeToString(deterministic=True) == encoded


def test_tokenize_takes_less_than_embed(stub: EmbeddingServiceStub) -> None:
    texts = ["card " * 1_500] * 3
    with pytest.raises(grpc.RpcError) as caught:
        stub.Tokenize(pb.TokenizeRequest(model="s", texts=texts))
    details = Details(caught.value)
    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (details.info.reason, details.field) == ("REQUEST_TOO_LARGE", "texts")
    assert details.info.metadata["limit"] == "20000"
