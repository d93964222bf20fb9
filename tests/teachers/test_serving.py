"""Teachers through the real server and its engine process, beside Teacher.encode itself."""

from __future__ import annotations

import random
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from serving import Details, Serving, serving

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1 import server_service_pb2
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.server_service_pb2_grpc import ServerServiceStub
from stillroom_server.distillation.teacher import Teacher

WORDS = "the quick brown fox student teacher keeps 22 words in house signs café 日本".split()  # noqa: SIM905
LEFT = pb.TRUNCATION_DIRECTION_LEFT


def texts(number: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, 40))) for _ in range(number)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def matrix(answer: pb.EmbedResponse | pb.EmbedStreamResponse) -> np.ndarray:
    vectors = answer.embeddings.vectors
    return np.array(vectors.float32.values).reshape(vectors.count, vectors.dimensions)


def ask(stub: EmbeddingServiceStub, model: str, given: list[str], **options: object) -> np.ndarray:
    chosen = pb.EmbedOptions(**options)  # type: ignore[arg-type]
    return matrix(stub.Embed(pb.EmbedRequest(model=model, texts=given, options=chosen)))


@pytest.fixture(scope="module")
def stub(server: Serving) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(server.channel)


def test_vectors_are_the_teachers_own(stub: EmbeddingServiceStub, bert: Teacher) -> None:
    given = [*texts(60), "", "word " * 500]
    answer = stub.Embed(pb.EmbedRequest(model="bert", texts=given, correlation_id="c"))
    np.testing.assert_allclose(matrix(answer), unit(bert.encode(given)), atol=2e-5)
    embeddings = answer.embeddings
    assert embeddings.model_version == "models/bert/versions/1"
    assert answer.correlation_id == "c"
    assert list(embeddings.truncated) == [False] * 61 + [True]
    assert list(embeddings.token_counts) == [len(row) for row in bert.tokenizer.encode(given)]
    assert [(w.index, w.kind) for w in embeddings.warnings] == [(60, pb.TEXT_WARNING_KIND_EMPTY)]
    assert 0 < embeddings.timings.infer_nanos < embeddings.timings.total_nanos


def test_raw_vectors_and_fewer_dimensions(stub: EmbeddingServiceStub, bert: Teacher) -> None:
    given = texts(9)
    raw = bert.encode(given)
    np.testing.assert_allclose(ask(stub, "bert", given, normalize=False), raw, atol=2e-4)
    np.testing.assert_allclose(ask(stub, "bert", given, dimensions=5), unit(raw[:, :5]), atol=2e-5)


def test_prompts(stub: EmbeddingServiceStub, prompted: Teacher) -> None:
    given = texts(9)
    expected = {
        "default": prompted.encode(given),
        "named": prompted.encode(given, prompt_name="query"),
        "own": prompted.encode(given, prompt="who made the house? "),
        "none": prompted.encode(given, prompt=""),
    }
    found = {
        "default": ask(stub, "prompted", given),
        "named": ask(stub, "prompted", given, prompt_name="query"),
        "own": ask(stub, "prompted", given, prompt="who made the house? "),
        "none": ask(stub, "prompted", given, prompt=""),
    }
    for name, vectors in expected.items():
        np.testing.assert_allclose(found[name], vectors, atol=2e-5, err_msg=name)
    assert np.abs(expected["none"] - expected["own"]).max() > 0.05


def test_cut_texts_keep_their_special_tokens(stub: EmbeddingServiceStub, bert: Teacher) -> None:
    given = ["the quick brown fox keeps the house"]
    ids = bert.tokenizer.encode(given)[0]
    right = [*ids[:4], ids[-1]]
    left = [ids[0], *ids[-4:]]
    expected = unit(bert.encode_ids([right, left]))
    cut = ask(stub, "bert", given, max_tokens=5)
    np.testing.assert_allclose(cut, expected[:1], atol=2e-5)
    cut = ask(stub, "bert", given, max_tokens=5, truncation_direction=LEFT)
    np.testing.assert_allclose(cut, expected[1:], atol=2e-5)


def test_requests_at_once_keep_their_order_and_options(
    stub: EmbeddingServiceStub, bert: Teacher
) -> None:
    lists = [texts(random.Random(seed).randint(1, 40), seed) for seed in range(24)]
    whole = [unit(bert.encode(given)) for given in lists]
    short = [unit(bert.encode(given)[:, :7]) for given in lists]
    with ThreadPoolExecutor(12) as threads:
        wholes = [threads.submit(ask, stub, "bert", given) for given in lists]
        shorts = [threads.submit(ask, stub, "bert", given, dimensions=7) for given in lists]
        cuts = [threads.submit(ask, stub, "bert", given, max_tokens=3) for given in lists]
    for number, given in enumerate(lists):
        np.testing.assert_allclose(wholes[number].result(), whole[number], atol=2e-5)
        np.testing.assert_allclose(shorts[number].result(), short[number], atol=2e-5)
        rows = [[*row[:2], row[-1]] for row in bert.tokenizer.encode(given)]
        np.testing.assert_allclose(cuts[number].result(), unit(bert.encode_ids(rows)), atol=2e-5)


def test_a_stream_answers_in_order_and_outlives_bad_items(
    stub: EmbeddingServiceStub, bert: Teacher
) -> None:
    lists = [texts(1 + seed % 7 * 9, seed) for seed in range(20)]

    def items() -> Iterator[pb.EmbedStreamRequest]:
        for number, given in enumerate(lists):
            bad = pb.EmbedOptions(max_tokens=1 if number % 5 == 3 else 0)
            yield pb.EmbedStreamRequest(
                model="bert", texts=given, options=bad, correlation_id=str(number)
            )

    answers = list(stub.EmbedStream(items()))
    assert [answer.correlation_id for answer in answers] == [str(n) for n in range(20)]
    for number, answer in enumerate(answers):
        if number % 5 == 3:
            details = Details(answer.error)
            assert (details.code.name, details.field) == ("INVALID_ARGUMENT", "options.max_tokens")
        else:
            expected = unit(bert.encode(lists[number]))
            np.testing.assert_allclose(matrix(answer), expected, atol=2e-5)


def test_a_stream_that_waits_for_each_answer_gets_it(stub: EmbeddingServiceStub) -> None:
    answered = threading.Semaphore(1)

    def items() -> Iterator[pb.EmbedStreamRequest]:
        for number in range(4):
            assert answered.acquire(timeout=60)
            yield pb.EmbedStreamRequest(model="bert", texts=texts(2), correlation_id=str(number))

    seen = []
    for answer in stub.EmbedStream(items(), timeout=60):
        seen.append(answer.correlation_id)
        answered.release()
    assert seen == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("model", "options", "code", "field", "reason"),
    [
        ("bert", {"max_tokens": 2}, "INVALID_ARGUMENT", "options.max_tokens", None),
        ("bert", {"max_tokens": 65}, "INVALID_ARGUMENT", "options.max_tokens", None),
        ("bert", {"dimensions": 33}, "INVALID_ARGUMENT", "options.dimensions", None),
        ("bert", {"prompt_name": "x"}, "INVALID_ARGUMENT", "options.prompt_name", None),
        (
            *("bert", {"truncate": False, "max_tokens": 4}),
            *("INVALID_ARGUMENT", "texts[1]", "TEXT_TOO_LONG"),
        ),
        ("broken", {}, "FAILED_PRECONDITION", "model", "NOT_A_MODEL"),
        ("none", {}, "NOT_FOUND", "model", "MODEL_NOT_FOUND"),
    ],
)
def test_refusals(
    stub: EmbeddingServiceStub,
    model: str,
    options: dict[str, object],
    code: str,
    field: str,
    reason: str | None,
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(stub, model, ["the", "the quick brown fox"], **options)
    details = Details(caught.value)
    assert (details.code.name, details.field) == (code, field)
    assert reason is None or details.info.reason == reason


def test_a_deadline_reaches_the_engine(stub: EmbeddingServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Embed(pb.EmbedRequest(model="bert", texts=texts(4000)), timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ask(stub, "bert", ["the fox"]).shape == (1, 32)


def test_tokenize(stub: EmbeddingServiceStub) -> None:
    answer = stub.Tokenize(pb.TokenizeRequest(model="bert", texts=["the fox", ""]))
    assert answer.results[0].tokens[0] == "[CLS]"
    assert answer.results[0].tokens[1] == "the"
    assert (answer.results[0].starts[1], answer.results[0].ends[1]) == (0, 3)
    assert list(answer.results[1].tokens) == ["[CLS]", "[SEP]"]


def test_loaded_teachers_are_shown(server: Serving, stub: EmbeddingServiceStub) -> None:
    ask(stub, "bert", ["the fox"])
    info = ServerServiceStub(server.channel).GetServerInfo(
        server_service_pb2.GetServerInfoRequest()
    )
    shown = {model.model_version: model for model in info.loaded_models}["models/bert/versions/1"]
    assert (shown.engine, shown.tokenizer, shown.dimensions) == ("torch", "huggingface", 32)
    assert shown.engine_reason == "a teacher: float32 on cpu"
    assert shown.memory_bytes > 32 * 260 * 4
    assert info.limits.max_teacher_queue_bytes > 0


def test_metrics_exist_before_and_count_after(data: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    with serving(copy, device="cpu", metrics_address="127.0.0.1:0") as running:
        url = f"http://{running.server.metrics_address}/metrics"

        def metric(name: str) -> float:
            with urllib.request.urlopen(url) as answer:
                lines = answer.read().decode().splitlines()
            return next(float(line.split()[-1]) for line in lines if line.startswith(name))

        assert metric('stillroom_teacher_shed_requests_total{reason="TEACHER_TOO_BUSY"}') == 0
        assert metric("stillroom_teacher_engine_restarts_total") == 0
        assert metric("stillroom_teacher_batch_texts_count") == 0
        ask(EmbeddingServiceStub(running.channel), "bert", texts(5))
        info = ServerServiceStub(running.channel)
        info.GetServerInfo(server_service_pb2.GetServerInfoRequest())  # looks at the engine
        assert metric("stillroom_teacher_batch_texts_sum") == 5
        assert metric("stillroom_teacher_batch_tokens_sum") > 10
        assert metric("stillroom_teacher_queue_duration_seconds_count") == 1
        assert metric('stillroom_loaded_model_bytes{engine="torch",model_version="models/b') > 0
        assert metric("stillroom_teacher_queue_bytes") == 0
