"""``stillroom serve`` as a process: how it starts, what refuses, how it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rpc.conftest import publish_models
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub

SERVE = "import sys; from stillroom_server.app import main; sys.exit(main(sys.argv[1:]))"


def command(data: Path, *flags: str) -> list[str]:
    chosen = [
        "--data-dir",
        str(data),
        "--address",
        "127.0.0.1:0",
        "--metrics-address",
        "127.0.0.1:0",
    ]
    return [sys.executable, "-c", SERVE, *chosen, *flags]


@contextmanager
def process(data: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A serving process and what its ready line says."""
    running = subprocess.Popen(
        command(data, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = _stream(running.stdout).readline()
        assert line.startswith("stillroom ready "), _stream(running.stderr).read()
        yield running, dict(pair.split("=", 1) for pair in line.split()[2:])
    finally:
        running.kill()
        print(running.communicate()[1])  # shown where the test fails


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def failed(data: Path, *flags: str) -> tuple[int, str]:
    done = subprocess.run(
        command(data, *flags), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_it_serves_tells_where_and_stops_cleanly(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    with process(tmp_path / "data") as (running, said):
        with grpc.insecure_channel(said["address"]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "stillroom.v1.EmbeddingService", "models/s"):
                answer = health.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
            EmbeddingServiceStub(channel).Embed(pb.EmbedRequest(model="s", texts=["my card"]))
        with urllib.request.urlopen(said["metrics"]) as answer:
            metrics = answer.read().decode()
        embed = 'method="/stillroom.v1.EmbeddingService/Embed"'
        assert f'stillroom_requests_total{{code="OK",{embed}}} 1.0' in metrics
        assert 'stillroom_embed_texts_total{model="s"} 1.0' in metrics
        assert 'stillroom_embed_tokens_total{model="s"} 2.0' in metrics
        # Before their first event:
        assert f'stillroom_requests_total{{code="INTERNAL",{embed}}} 0.0' in metrics
        assert 'stillroom_operations{kind="distill",state="running"} 0.0' in metrics
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def test_a_second_server_is_told_who_has_the_data(tmp_path: Path) -> None:
    with process(tmp_path) as (running, _):
        status, text = failed(tmp_path)
        assert status == 1
        assert str(running.pid) in text


def test_ports_in_use_are_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, text = failed(tmp_path, "--address", address)
        assert status == 1
        assert address in text
        status, text = failed(tmp_path, "--metrics-address", address)
        assert status == 1
        assert "--metrics-address" in text


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--max-texts", "0"], "max_texts"),
        (["--max-texts", "many"], "max_texts"),
        (["--tls-certificate", "/x"], "tls_key"),
        (["--config", "/no/such.toml"], "/no/such.toml"),
        (["--address", "nowhere"], "nowhere"),
        (["--no-such-flag"], "no-such-flag"),
    ],
)
def test_wrong_settings_are_usage_errors(tmp_path: Path, flags: list[str], word: str) -> None:
    status, text = failed(tmp_path, *flags)
    assert status == 2
    assert word in text


def test_a_request_in_flight_is_finished_while_draining(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    with process(tmp_path / "data") as (running, said):
        with grpc.insecure_channel(said["address"]) as channel:
            asked: list[str] = []

            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

            in_flight = threading.Event()

            def items() -> Iterator[pb.EmbedStreamRequest]:
                yield pb.EmbedStreamRequest(model="s", texts=["my card"])
                assert in_flight.wait(60)
                running.send_signal(signal.SIGTERM)
                assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
                watch.cancel()
                asked.append("while draining")
                yield pb.EmbedStreamRequest(texts=["my new card"])

            stream = EmbeddingServiceStub(channel).EmbedStream(items())
            answers = [next(stream)]
            in_flight.set()
            answers += stream
        assert asked
        assert [answer.embeddings.token_counts[0] for answer in answers] == [2, 3]
        assert running.wait(60) == 0


def test_settings_come_from_file_and_environment_and_flags_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillroom_server.settings import load

    file = tmp_path / "stillroom.toml"
    file.write_text('max_texts = 1\nmax_text_bytes = 1\nallow_root = ["/a", "/b"]\n')
    monkeypatch.setenv("STILLROOM_MAX_TEXT_BYTES", "2")
    monkeypatch.setenv("STILLROOM_MAX_STREAM_WINDOW", "2")
    settings = load(["--config", str(file), "--max-stream-window", "3"])
    assert (settings.max_texts, settings.max_text_bytes, settings.max_stream_window) == (1, 2, 3)
    assert settings.allow_root == [Path("/a"), Path("/b")]
