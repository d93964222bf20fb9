"""Transformer students through a real server: beside others, swapped, damaged, abandoned."""

from __future__ import annotations

import logging
import os
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from inference.students import naive_vector, write_student
from inference.transformers import naive, write_transformer
from serving import Details, Serving, serving

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1 import server_service_pb2
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.server_service_pb2_grpc import ServerServiceStub
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.inference.transformer.graph import BATCH_TOKENS, TransformerGraph

TEXTS = ["my new card", "the exchange rate was charged twice", "help", ""]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A static student and a transformer."""
    root = tmp_path_factory.mktemp("folders")
    return write_student(root / "static"), write_transformer(root / "transformer")


@pytest.fixture
def data(tmp_path: Path, folders: tuple[Path, Path]) -> Path:
    """Versions 1 and 2 of ``s``; the alias ``live`` names the first."""
    registry = Registry.open(tmp_path / "data")
    for folder in folders:
        registry.publish("s", ModelKind.STUDENT, folder)
    registry.set_alias("s", "live", 1)
    registry.close()
    return tmp_path / "data"


@pytest.fixture
def running(data: Path) -> Iterator[Serving]:
    with serving(data, metrics_address="127.0.0.1:0") as found:
        yield found


def matrix(embeddings: pb.Embeddings) -> np.ndarray:
    vectors = embeddings.vectors
    return np.array(vectors.float32.values).reshape(vectors.count, vectors.dimensions)


def test_every_way_to_ask(running: Serving, folders: tuple[Path, Path]) -> None:
    stub = EmbeddingServiceStub(running.channel)
    expected = [naive(folders[1], text) for text in TEXTS]
    unary = stub.Embed(pb.EmbedRequest(model="s@2", texts=TEXTS)).embeddings
    np.testing.assert_allclose(matrix(unary), expected, atol=1e-6)
    assert list(unary.token_counts) == [5, 8, 3, 2]
    assert [(w.index, w.kind) for w in unary.warnings] == [(3, pb.TEXT_WARNING_KIND_EMPTY)]
    assert unary.timings.infer_nanos > 0
    for text, row in zip(TEXTS, expected, strict=True):
        one = stub.Embed(pb.EmbedRequest(model="s@2", texts=[text])).embeddings
        np.testing.assert_allclose(matrix(one), [row], atol=1e-6)

    def items() -> Iterator[pb.EmbedStreamRequest]:
        for number in range(40):
            wanted = pb.EmbedOptions(max_tokens=-1 if number == 20 else 0)
            yield pb.EmbedStreamRequest(
                model="s@2" if number % 7 else "s@1",
                texts=TEXTS[:3] * 3,
                options=wanted,
                correlation_id=str(number),
            )

    answers = list(stub.EmbedStream(items()))
    assert [answer.correlation_id for answer in answers] == [str(n) for n in range(40)]
    statics = [naive_vector(folders[0], text) for text in TEXTS[:3]] * 3
    for number, answer in enumerate(answers):
        if number == 20:
            assert Details(answer.error).info.reason == "MAX_TOKENS_OUT_OF_RANGE"
            continue
        rows = expected[:3] * 3 if number % 7 else statics
        np.testing.assert_allclose(matrix(answer.embeddings), rows, atol=1e-6)
    (tokens,) = stub.Tokenize(pb.TokenizeRequest(model="s@2", texts=["card"])).results
    assert list(tokens.tokens) == ["[CLS]", "card", "[SEP]"]
    info = ServerServiceStub(running.channel).GetServerInfo(
        server_service_pb2.GetServerInfoRequest()
    )
    served = {loaded.model_version: loaded for loaded in info.loaded_models}
    assert served["models/s/versions/2"].engine == "onnxruntime"
    assert "a transformer" in served["models/s/versions/2"].engine_reason


def test_an_alias_moves_between_kinds_without_a_failed_request(
    running: Serving, data: Path
) -> None:
    stub = EmbeddingServiceStub(running.channel)
    stop, seen = threading.Event(), set[str]()

    def ask() -> int:
        done = 0
        while not stop.is_set():
            answer = stub.Embed(pb.EmbedRequest(model="s@live", texts=TEXTS)).embeddings
            wanted = {"models/s/versions/1": 24, "models/s/versions/2": 16}
            assert answer.vectors.dimensions == wanted[answer.model_version]
            seen.add(answer.model_version)
            done += 1
        return done

    registry = Registry.open(data)
    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(ask) for _ in range(4)]
        try:
            for turn in range(6):
                version = 2 - turn % 2
                registry.set_alias("s", "live", version)
                name = f"models/s/versions/{version}"
                found = stub.Embed(pb.EmbedRequest(model="s@live", texts=["the"])).embeddings
                assert found.model_version == name
        finally:
            stop.set()
        assert all(worker.result(60) for worker in workers)
    assert len(seen) == 2
    registry.close()


def test_a_version_that_does_not_load_leaves_the_old_one_serving_and_says_so(
    running: Serving, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stub = EmbeddingServiceStub(running.channel)
    health = health_pb2_grpc.HealthStub(running.channel)
    asked = pb.EmbedRequest(model="s@live", texts=TEXTS)
    assert stub.Embed(asked).embeddings.model_version == "models/s/versions/1"
    watch = health.Watch(health_pb2.HealthCheckRequest(service="models/s"), timeout=60)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    broken = write_transformer(tmp_path / "broken")
    (broken / "onnx" / "model.onnx").write_bytes(b"no graph")
    registry = Registry.open(data)
    registry.publish("s", ModelKind.STUDENT, broken)
    registry.set_alias("s", "live", 3)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert stub.Embed(asked).embeddings.model_version == "models/s/versions/1"
    (said,) = [r.getMessage() for r in caplog.records if "does not load" in r.getMessage()]
    assert "models/s/versions/3" in said
    assert "ONNX_FILE_INVALID" in said
    page = f"http://{running.server.metrics_address}/metrics"
    gauge = 'failed_model_loads{model_version="models/s/versions/3",reason="ONNX_FILE_INVALID"} 1'
    assert gauge in urllib.request.urlopen(page, timeout=60).read().decode()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Embed(pb.EmbedRequest(model="s@3", texts=["a"]))
    assert Details(caught.value).code is grpc.StatusCode.DATA_LOSS
    registry.set_alias("s", "live", 2)
    registry.delete_version("s", 3)
    assert stub.Embed(asked).embeddings.model_version == "models/s/versions/2"
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    assert "versions/3" not in urllib.request.urlopen(page, timeout=60).read().decode()
    registry.close()


def test_who_leaves_is_not_computed_further(
    running: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = EmbeddingServiceStub(running.channel)
    stub.Embed(pb.EmbedRequest(model="s@2", texts=["the"]))
    runs, entered, may_go = [], threading.Event(), threading.Event()
    original = TransformerGraph.run

    def run(self: TransformerGraph, *arguments: object) -> None:
        runs.append(1)
        entered.set()
        assert may_go.wait(60)
        original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TransformerGraph, "run", run)
    many = pb.EmbedRequest(model="s@2", texts=["the card has not arrived"] * 4000)
    call = stub.Embed.future(many)
    assert entered.wait(60)
    # The event loop is free meanwhile, and so are students that are no transformers.
    static = stub.Embed(pb.EmbedRequest(model="s@1", texts=TEXTS), timeout=60)
    assert static.embeddings.model_version == "models/s/versions/1"
    call.cancel()
    # Another request is answered after the cancelled one reached the server, on the same channel.
    health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
    may_go.set()
    assert stub.Embed(pb.EmbedRequest(model="s@2", texts=["the"])).embeddings
    assert len(runs) <= 2 * len(os.sched_getaffinity(0)) + 1
    assert len(runs) < 4000 * 7 // BATCH_TOKENS
