"""The life of engine processes: crashes, ends, idleness."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from rpc.test_serve_process import process
from serving import Details, Serving, serving
from teachers.processes import (
    cpu_seconds,
    engines,
    is_running,
    libraries,
    socket_folder,
    wait_until,
)

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1 import server_service_pb2
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.server_service_pb2_grpc import ServerServiceStub

SHORT = pb.EmbedRequest(model="bert", texts=["the fox"])
LONG = pb.EmbedRequest(model="bert", texts=["the quick brown fox " * 20] * 4000)


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("*.lock")))


@pytest.fixture
def server(copy: Path) -> Iterator[Serving]:
    settings = {
        "device": "cpu",
        "teacher_idle_seconds": 3.0,  # longer than it takes to look at an engine that has answered
        "teacher_engine_idle_seconds": 3.0,
        "max_teacher_queue_seconds": 1000,
    }
    with serving(copy, **settings) as running:
        yield running


def embedded_again(stub: EmbeddingServiceStub) -> bool:
    """Whether a text is answered; not yet, where the front has not seen the engine's end."""
    try:
        return stub.Embed(SHORT).embeddings.vectors.count == 1
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


def test_a_killed_engine_fails_only_its_requests_and_comes_back(server: Serving) -> None:
    stub = EmbeddingServiceStub(server.channel)
    stub.Embed(SHORT)
    (engine,) = engines(os.getpid())
    folder = socket_folder(engine)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = cpu_seconds(engine)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(stub.Embed, LONG, timeout=240) for _ in range(3)]
        wait_until(lambda: cpu_seconds(engine) > before + 0.5)
        os.kill(engine, signal.SIGKILL)
        for one in asked:
            error = one.exception()
            assert isinstance(error, grpc.RpcError)
            details = Details(error)
            assert details.code is grpc.StatusCode.UNAVAILABLE
            assert details.info.reason == "TEACHER_ENGINE_LOST"
            assert details.retry_seconds is not None
    wait_until(lambda: embedded_again(stub))
    (successor,) = engines(os.getpid())
    assert successor != engine
    wait_until(lambda: not folder.exists())

    # Left alone, it unloads, ends, and starts once more on demand.
    info = ServerServiceStub(server.channel)
    wait_until(lambda: not is_running(successor))
    assert not info.GetServerInfo(server_service_pb2.GetServerInfoRequest()).loaded_models
    assert stub.Embed(SHORT).embeddings.vectors.count == 1


def test_a_hung_engine_is_killed_and_replaced(copy: Path) -> None:
    with serving(copy, device="cpu", teacher_engine_hang_seconds=5.0) as running:
        stub = EmbeddingServiceStub(running.channel)
        stub.Embed(SHORT)
        (engine,) = engines(os.getpid())
        os.kill(engine, signal.SIGSTOP)
        try:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Embed(SHORT, timeout=60)
            details = Details(caught.value)
            assert details.code is grpc.StatusCode.UNAVAILABLE
            assert details.info.reason == "TEACHER_ENGINE_LOST"
            assert details.retry_seconds is not None
            wait_until(lambda: not is_running(engine))
        finally:
            if is_running(engine):
                os.kill(engine, signal.SIGKILL)
        wait_until(lambda: embedded_again(stub))
        assert engines(os.getpid()) != [engine]


def test_the_front_stays_light_and_its_death_ends_the_engine(copy: Path) -> None:
    with process(copy, "--device", "cpu") as (front, said):
        with grpc.insecure_channel(said["address"]) as channel:
            EmbeddingServiceStub(channel).Embed(SHORT)
        (engine,) = engines(front.pid)
        folder = socket_folder(engine)
        assert "libtorch" in libraries(engine)
        assert "libtorch" not in libraries(front.pid)
        front.kill()
        wait_until(lambda: not is_running(engine))
        wait_until(lambda: not folder.exists())
