"""Streams that break, stall or crowd, and requests that are cancelled: the rest goes on."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from inference.students import write_student
from rpc.conftest import publish_models
from serving import Details, Serving, serving

from faults.processes import SECONDS, ServerProcess, environment, until
from faults.proxy import Proxy
from stillroom.v1 import common_pb2, model_service_pb2
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.rpc.embedding import INLINE_CHARACTERS

STREAMS, REQUESTS = 3, 2
MEGABYTE = 1 << 20
LARGE = ["my card " * (INLINE_CHARACTERS // 4)]  # embedded in a thread, not in the event loop
DYING_CLIENT = """
import sys, grpc
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
def items():
    while True:
        yield pb.EmbedStreamRequest(model="s", texts=["my card"] * 64)
stub = EmbeddingServiceStub(grpc.insecure_channel(sys.argv[1]))
for number, _ in enumerate(stub.EmbedStream(items())):
    if number == 10:
        print("streaming", flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data, scratch = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("scratch")
    publish_models(data, scratch)
    limits = {"max_concurrent_streams": STREAMS, "max_concurrent_requests": REQUESTS}
    with serving(data, max_text_bytes=MEGABYTE, **limits) as running:
        yield running


@pytest.fixture
def stub(server: Serving) -> Iterator[EmbeddingServiceStub]:
    """After each test all of the server's capacity must be free again."""
    stub = EmbeddingServiceStub(server.channel)
    yield stub
    until(lambda: all_free(stub))


class Open:
    """A stream that stays open: ``ask`` sends an item, ``answer`` reads one."""

    def __init__(self, stub: EmbeddingServiceStub) -> None:
        self._items: queue.Queue[pb.EmbedStreamRequest | None] = queue.Queue()
        self.call = stub.EmbedStream(iter(self._items.get, None), timeout=SECONDS)

    def ask(self, **fields: object) -> None:
        self._items.put(pb.EmbedStreamRequest(**fields))

    def answer(self) -> pb.EmbedStreamResponse:
        answer: pb.EmbedStreamResponse = next(self.call)
        return answer

    def end(self) -> list[pb.EmbedStreamResponse]:
        self._items.put(None)
        return list(self.call)


def all_free(stub: EmbeddingServiceStub) -> bool:
    """Whether as many streams as there may be can be open, and a request is answered."""
    streams = [Open(stub) for _ in range(STREAMS)]
    try:
        for stream in streams:
            stream.ask(model="s", texts=["my card"])
            assert stream.answer().embeddings.token_counts == [2]
        stub.Embed(pb.EmbedRequest(model="s", texts=["help"]), timeout=SECONDS)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    finally:
        for stream in streams:
            stream._items.put(None)
    for stream in streams:
        assert list(stream.call) == []
    return True


class Brake:
    """Holds every embedding in its thread until ``release``."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Semaphore(0)
        self.released = threading.Event()
        embed = StudentEmbedder.embed

        def slow(*arguments: object) -> object:
            self.entered.release()
            assert self.released.wait(SECONDS)
            return embed(*arguments)  # type: ignore[arg-type]

        patch.setattr(StudentEmbedder, "embed", slow)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=SECONDS)


def test_half_open_streams_do_not_hinder_others(stub: EmbeddingServiceStub) -> None:
    streams = [Open(stub) for _ in range(STREAMS)]
    for stream in streams:
        stream.ask(model="s", texts=["my card"])
        assert stream.answer().embeddings.token_counts == [2]
    assert stub.Embed(pb.EmbedRequest(model="s", texts=["help"])).embeddings.token_counts == [1]
    for stream in streams:
        stream.ask(texts=["my new card"])
        assert [a.embeddings.token_counts for a in stream.end()] == [[3]]


def test_one_stream_too_many_is_told_when_to_come_back(stub: EmbeddingServiceStub) -> None:
    streams = [Open(stub) for _ in range(STREAMS)]
    for stream in streams:
        stream.ask(model="s", texts=["card"])
        stream.answer()
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.EmbedStream(iter([pb.EmbedStreamRequest(model="s", texts=["card"])])))
    check_shed(caught.value, "TOO_MANY_STREAMS")
    streams[0].call.cancel()
    until(lambda: one_more(stub))
    for stream in streams[1:]:
        assert stream.end() == []


def one_more(stub: EmbeddingServiceStub) -> bool:
    try:
        item = pb.EmbedStreamRequest(model="s", texts=["card"])
        return len(list(stub.EmbedStream(iter([item])))) == 1
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False


def check_shed(error: grpc.RpcError, reason: str) -> None:
    details = Details(error)
    assert (details.code.name, details.info.reason) == ("RESOURCE_EXHAUSTED", reason)
    assert details.retry_seconds
    pushback = dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
    assert int(pushback) == details.retry_seconds * 1000


def test_requests_over_the_limit_are_shed_and_the_others_are_not(
    stub: EmbeddingServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = pb.EmbedRequest(model="s", texts=LARGE)
    for _ in range(2):  # the second time shows that the first gave everything back
        brake = Brake(monkeypatch)
        held = [stub.Embed.future(request) for _ in range(REQUESTS)]
        brake.wait_for(REQUESTS)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Embed(pb.EmbedRequest(model="s", texts=["x"]))
        check_shed(caught.value, "TOO_MANY_REQUESTS")
        brake.released.set()
        assert all(call.result().embeddings.token_counts for call in held)
        monkeypatch.undo()


def test_cancelled_while_embedding(
    stub: EmbeddingServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    brake = Brake(monkeypatch)
    calls = [stub.Embed.future(pb.EmbedRequest(model="s", texts=LARGE)) for _ in range(REQUESTS)]
    stream = Open(stub)
    stream.ask(model="s", texts=LARGE)
    brake.wait_for(REQUESTS + 1)
    for call in (*calls, stream.call):
        call.cancel()
    brake.released.set()
    assert all(call.code() is grpc.StatusCode.CANCELLED for call in (*calls, stream.call))


def test_cancelled_at_once_or_a_little_later(stub: EmbeddingServiceStub) -> None:
    for delay in range(30):
        stream = Open(stub)
        stream.ask(model="s", texts=["my card"] * 50)
        call = stub.Embed.future(pb.EmbedRequest(model="s", texts=["my card"] * 50))
        for _ in range(delay * 200):
            pass
        call.cancel()
        stream.call.cancel()


def test_cancelled_while_a_model_loads(
    server: Serving, stub: EmbeddingServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go = threading.Event(), threading.Event()
    load = StudentEmbedder.load

    def slow(*arguments: object, **options: object) -> StudentEmbedder:
        loading.set()
        assert go.wait(SECONDS)
        return load(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(StudentEmbedder, "load", slow)
    leaving = stub.Embed.future(pb.EmbedRequest(model="s@1", texts=["card"]))
    staying = stub.Embed.future(pb.EmbedRequest(model="s@1", texts=["card"]))
    assert loading.wait(SECONDS)
    leaving.cancel()
    go.set()
    assert staying.result(SECONDS).embeddings.model_version == "models/s/versions/1"


def test_deadlines_that_are_over(
    stub: EmbeddingServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the server hears of it, at some moment of its work, and while it embeds."""
    small = pb.EmbedRequest(model="s", texts=["my card"] * 100)
    codes = {code_of(stub, small, number * 1e-4 - 1e-3) for number in range(60)}
    assert codes <= {None, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
    brake = Brake(monkeypatch)
    code = code_of(stub, pb.EmbedRequest(model="s", texts=LARGE), 0.2)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    brake.released.set()


def code_of(
    stub: EmbeddingServiceStub, request: pb.EmbedRequest, seconds: float
) -> grpc.StatusCode | None:
    """The code that the request fails with within so many seconds, or None."""
    try:
        stub.Embed(request, timeout=seconds)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return None


def test_a_client_that_is_killed_while_streaming(
    server: Serving, stub: EmbeddingServiceStub
) -> None:
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", DYING_CLIENT, server.address],
            stdout=subprocess.PIPE,
            env=environment(),
        ) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"streaming\n"
            client.send_signal(signal.SIGKILL)
    until(lambda: all_free(stub))


def test_bytes_that_are_no_http2(server: Serving, stub: EmbeddingServiceStub) -> None:
    host, _, port = server.address.rpartition(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 9000, preface, preface + b"\0" * 9000):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(data)


def test_peers_that_vanish_without_a_word_give_their_streams_back(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    # Peers have a third of it to answer, and those that are there must do so on a busy machine too.
    settings = {"max_concurrent_streams": STREAMS, "keepalive_seconds": 6}
    with serving(tmp_path / "data", **settings) as running, Proxy(running.address) as proxy:
        vanishing = EmbeddingServiceStub(grpc.insecure_channel(proxy.address))
        for stream in [Open(vanishing) for _ in range(STREAMS)]:
            stream.ask(model="s", texts=["card"])
            stream.answer()
        stub = EmbeddingServiceStub(running.channel)
        assert not all_free(stub)
        proxy.freeze()
        until(lambda: all_free(stub))


def test_texts_at_the_limit(stub: EmbeddingServiceStub) -> None:
    text = "a " * (MEGABYTE // 2)
    answer = stub.Embed(pb.EmbedRequest(model="s", texts=[text]))
    assert list(answer.embeddings.token_counts) == [512]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Embed(pb.EmbedRequest(model="s", texts=["", text + "a"]))
    assert Details(caught.value).field == "texts[1]"
    with pytest.raises(grpc.RpcError) as caught:
        stub.Tokenize(pb.TokenizeRequest(model="s", texts=[text]))
    assert Details(caught.value).info.reason == "REQUEST_TOO_LARGE"


@pytest.mark.slow
def test_a_text_of_ten_megabytes(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    with serving(tmp_path / "data", max_text_bytes=10 * MEGABYTE) as running:
        stub = EmbeddingServiceStub(running.channel)
        answer = stub.Embed(pb.EmbedRequest(model="s", texts=["a " * (5 * MEGABYTE)]))
        assert list(answer.embeddings.token_counts) == [512]


def test_messages_over_the_limits(tmp_path: Path) -> None:
    """Up to four times the limit the handler answers, with details; beyond that gRPC's core."""
    publish_models(tmp_path / "data", tmp_path)
    with serving(tmp_path / "data", max_request_bytes=10_000) as running:
        stub = EmbeddingServiceStub(running.channel)
        codes = []
        for size in (10_001, 50_000):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Embed(pb.EmbedRequest(model="s", texts=["x" * size]))
            codes.append(caught.value.code().name)
            stub.Embed(pb.EmbedRequest(model="s", texts=["x"]))
        assert codes == ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"]


def test_a_million_empty_texts(stub: EmbeddingServiceStub) -> None:
    options = pb.EmbedOptions(element_type=common_pb2.ELEMENT_TYPE_BINARY)
    item = pb.EmbedStreamRequest(model="s", texts=[""] * 4096, options=options)
    texts = 0
    for answer in stub.EmbedStream(item for _ in range(245)):
        assert answer.embeddings.vectors.count == len(answer.embeddings.warnings) == 4096
        texts += 4096
    assert texts > 1_000_000


@pytest.fixture
def models(server: Serving) -> ModelServiceStub:
    return ModelServiceStub(server.channel)


def publish(server: Serving, name: str, folder: Path) -> None:
    """Two versions of a student, published by another process's eyes: through the files."""
    registry = Registry.open(server.server._settings.data_dir)
    for seed in range(2):
        registry.publish(name, ModelKind.STUDENT, write_student(folder / str(seed), seed=seed))
    registry.close()


def test_a_model_deleted_while_a_stream_uses_it(
    server: Serving, stub: EmbeddingServiceStub, models: ModelServiceStub, tmp_path: Path
) -> None:
    publish(server, "doomed", tmp_path)
    stream = Open(stub)
    stream.ask(model="doomed", texts=["card"])
    assert stream.answer().embeddings.model_version == "models/doomed/versions/2"
    models.DeleteModel(model_service_pb2.DeleteModelRequest(name="doomed", force=True))
    stream.ask(texts=["card"])
    assert Details(stream.answer().error).code is grpc.StatusCode.NOT_FOUND
    stream.ask(model="s", texts=["card"])
    assert stream.answer().embeddings.model_version == "models/s/versions/2"
    assert stream.end() == []


def test_a_model_deleted_while_it_embeds(
    server: Serving,
    stub: EmbeddingServiceStub,
    models: ModelServiceStub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(server, "brief", tmp_path)
    brake = Brake(monkeypatch)
    call = stub.Embed.future(pb.EmbedRequest(model="brief", texts=LARGE))
    brake.wait_for(1)
    models.DeleteModel(model_service_pb2.DeleteModelRequest(name="brief", force=True))
    brake.released.set()
    assert call.result(SECONDS).embeddings.model_version == "models/brief/versions/2"


def test_an_alias_that_moves_fails_no_request(
    server: Serving, stub: EmbeddingServiceStub, models: ModelServiceStub, tmp_path: Path
) -> None:
    publish(server, "moving", tmp_path)

    def point(version: int) -> None:
        models.SetModelAlias(
            model_service_pb2.SetModelAliasRequest(model="moving", alias="live", version=version)
        )

    point(1)
    stop = threading.Event()
    seen: set[str] = set()
    failures: list[object] = []

    def embed() -> None:
        try:
            while not stop.is_set():
                request = pb.EmbedRequest(model="moving@live", texts=["card"])
                seen.add(stub.Embed(request, timeout=SECONDS).embeddings.model_version)
        except grpc.RpcError as error:
            failures.append(error)

    def stream() -> None:
        def items() -> Iterator[pb.EmbedStreamRequest]:
            while not stop.is_set():
                yield pb.EmbedStreamRequest(model="moving@live", texts=["card"])

        failures.extend(a for a in stub.EmbedStream(items()) if a.HasField("error"))

    threads = [threading.Thread(target=target) for target in (embed, stream)]
    for thread in threads:
        thread.start()

    def moved() -> bool:
        for number in range(40):
            point(1 + number % 2)
        return len(seen) == 2 or bool(failures)

    try:
        until(moved)
    finally:
        stop.set()
    for thread in threads:
        thread.join(SECONDS)
    assert not failures
    assert seen == {"models/moving/versions/1", "models/moving/versions/2"}


def test_clients_that_never_read_cost_bounded_memory(tmp_path: Path) -> None:
    """Each offers 2 GB of answers; what is held is some messages a stream, and it comes back."""
    streams, texts = 8, 2000
    folder = write_student(tmp_path / "student", dimensions=256)
    registry = Registry.open(tmp_path / "data")
    registry.publish("s", ModelKind.STUDENT, folder)
    registry.close()
    item = pb.EmbedStreamRequest(model="s", texts=["my card"] * texts)
    answer_bytes = texts * 256 * 4
    with ServerProcess(tmp_path / "data", tmp_path / "log") as server:
        list(server.embedding.EmbedStream(iter([item] * 20)))
        before = server.rss()
        sent = [0] * streams

        def items(stream: int) -> Iterator[pb.EmbedStreamRequest]:
            for _ in range(1000):
                sent[stream] += 1
                yield item

        calls = [server.embedding.EmbedStream(items(number)) for number in range(streams)]
        until(lambda: stalled(sent))
        grown = server.rss() - before
        assert max(sent) < 1000
        assert grown < streams * 8 * answer_bytes, f"{grown:,} bytes"
        request = pb.EmbedRequest(model="s", texts=["help"])
        assert server.embedding.Embed(request, timeout=SECONDS).embeddings.token_counts == [1]
        for call in calls:
            call.cancel()
        list(server.embedding.EmbedStream(iter([item] * 20)))


def stalled(sent: list[int], seconds: float = 1.0) -> bool:
    """Whether every stream has begun and none goes on for so long."""
    before, deadline = list(sent), time.monotonic() + seconds
    while time.monotonic() < deadline:
        if sent != before or not all(sent):
            return False
        time.sleep(0.01)
    return True
