"""``stillroom bench`` over the network, against the fake server and the real one."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2
from inference.students import write_student
from serving import serving

from client.fake_server import EMBED, EMBED_STREAM, FakeServer, embed, fail, status, stream_answer
from stillroom.bench.texts import TEXTS
from stillroom.cli import exits, main
from stillroom.v1 import common_pb2
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

Run = Callable[..., "Ran"]


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, Any]:
        """The one line of standard output."""
        (line,) = self.out.splitlines()
        return dict(json.loads(line))


@pytest.fixture
def run(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs ``stillroom bench m`` with further arguments in this process, without warm-up."""
    monkeypatch.setenv("STILLROOM_TARGET", server.target)

    def go(*arguments: str, model: str = "m") -> Ran:
        with pytest.raises(SystemExit) as left:
            main(["bench", model, "--warm-up", "0", *arguments])
        captured = capsys.readouterr()
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return go


@pytest.mark.parametrize("loop", [(), ("--rate", "1000")])
@pytest.mark.parametrize("mode", ["unary", "stream"])
def test_for_machines(run: Run, mode: str, loop: tuple[str, ...]) -> None:
    ran = run("--mode", mode, "--messages", "30", "--texts-per-message", "3", *loop, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert (found["model"], found["mode"]) == ("m", mode)
    assert found["loop"] == ("open" if loop else "closed")
    assert found["messages"] == {
        "begun": 30, "answered": 30, "failed": 0, "unanswered": 0, "unsent": 0
    }  # fmt: skip
    rates, seconds = found["per_second"], found["seconds"]
    assert rates["messages"] * seconds == pytest.approx(30)
    assert rates["texts"] * seconds == pytest.approx(90)
    assert rates["bytes_received"] > rates["messages"] * 3 * 8
    latency = found["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99_9"]
    assert latency["p99_9"] <= latency["max"] < seconds + 0.1
    assert latency["count"] == 30
    assert (found["lag_seconds"] is not None) == bool(loop)
    assert found["errors"] == []
    assert found["client"]["cpu"] > 0
    assert found["model_versions"] == ["models/fake/versions/1"]


def test_for_people(run: Run) -> None:
    ran = run("--messages", "20", "--rate", "2000")
    assert ran.code == 0
    assert "open loop of 2,000 messages/s, at most 1,000 in flight" in ran.out
    assert "20 answered, 0 failed, 0 not sent" in ran.out
    for word in ("texts/s", "tokens/s", "bytes/s", "client CPU", "p99.9", "sent late by"):
        assert word in ran.out
    assert "measuring 20 messages" in ran.err


def test_a_file_is_sent_in_turn(server: FakeServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one\ntwo\nthree\n")
    arguments = ("--file", str(file), "--texts-per-message", "2", "--concurrency", "1")
    ran = run(
        *arguments, "--messages", "3", "--element-type", "int8", "--dimensions", "1", "--json"
    )
    assert ran.code == 0
    requests: list[Any] = server.requests
    sent = [list(request.texts) for request in requests[1:]]  # after the trial
    assert sent == [["one", "two"], ["three", "one"], ["one", "two"]]
    for request in requests:
        assert request.model == "m"
        assert request.options.element_type == common_pb2.ELEMENT_TYPE_INT8
        assert request.options.dimensions == 1
    assert ran.json["element_type"] == "int8"
    assert ran.json["texts"] == 3


def test_the_built_in_texts(server: FakeServer, run: Run) -> None:
    assert run("--messages", str(len(TEXTS)), "--concurrency", "1").code == 0
    requests: list[Any] = server.requests
    assert [request.texts[0] for request in requests[1:]] == list(TEXTS)


@pytest.mark.parametrize("mode", ["unary", "stream"])
def test_connections_are_separate(server: FakeServer, run: Run, mode: str) -> None:
    peers: set[str] = set()

    def unary(request: Any, context: Any) -> Any:
        peers.add(context.peer())
        return embed(request, context)

    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        peers.add(context.peer())
        yield from map(stream_answer, requests)

    server.on(EMBED, unary)
    server.on(EMBED_STREAM, stream)
    assert run("--mode", mode, "--connections", "3", "--messages", "9").code == 0
    assert len(peers) == 3


def failing(server: FakeServer, every: int, error: Any) -> None:
    """Makes every so many-th message after the first fail."""
    count = itertools.count()

    def unary(request: Any, context: Any) -> Any:
        number = next(count)
        if number and number % every == 0:
            fail(context, error)
        return embed(request, context)

    server.on(EMBED, unary)


def test_errors_by_code_and_reason(server: FakeServer, run: Run) -> None:
    failing(
        server, 4, status(code_pb2.UNAVAILABLE, "stopping", reason="DRAINING", retry_after=0.001)
    )
    arguments = ("--messages", "20", "--concurrency", "1")
    ran = run(*arguments, "--json")
    assert ran.code == 0  # some were answered
    (error,) = ran.json["errors"]
    assert error == {
        "code": "UNAVAILABLE", "reason": "DRAINING", "message": "stopping", "count": 5
    }  # fmt: skip
    assert ran.json["messages"]["answered"] == 15
    assert ran.json["failure_seconds"]["count"] == 5
    # gRPC repeated none of them: failures are what is counted here.
    assert len(server.requests) == 1 + 20
    assert "UNAVAILABLE  DRAINING" in run(*arguments).out


def test_all_failed(server: FakeServer, run: Run) -> None:
    failing(server, 1, status(code_pb2.FAILED_PRECONDITION, "\x1b[2J gone", reason="GONE"))
    ran = run("--messages", "5")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]
    assert "0 answered, 5 failed" in ran.out
    assert "\x1b" not in ran.out


def test_items_of_a_stream_that_fail(server: FakeServer, run: Run) -> None:
    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for number, request in enumerate(requests):
            answer = stream_answer(request)
            if number % 2:
                answer.error.CopyFrom(status(code_pb2.INVALID_ARGUMENT, reason="TOO_LONG"))
            yield answer

    server.on(EMBED_STREAM, stream)
    found = run("--mode", "stream", "--messages", "10", "--json").json
    assert (found["messages"]["answered"], found["messages"]["failed"]) == (5, 5)
    assert found["errors"][0]["reason"] == "TOO_LONG"
    assert len([call for call in server.calls if call == EMBED_STREAM]) == 1


def test_a_stream_that_breaks_is_opened_again(server: FakeServer, run: Run) -> None:
    lives = iter((5, 5))

    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        left = next(lives, None)
        for number, request in enumerate(requests):
            if number == left:
                fail(context, status(code_pb2.UNAVAILABLE, reason="DRAINING", retry_after=0.01))
            yield stream_answer(request)

    server.on(EMBED_STREAM, stream)
    found = run("--mode", "stream", "--messages", "30", "--concurrency", "2", "--json").json
    assert len([call for call in server.calls if call == EMBED_STREAM]) == 3
    assert found["messages"]["answered"] + found["messages"]["failed"] == 30
    assert found["errors"][0]["reason"] == "DRAINING"
    assert 2 <= found["messages"]["failed"] <= 4  # those in flight, each time


def until_it_leaves(context: Any) -> None:
    """Waits for the client to give up."""
    left = threading.Event()
    if context.add_callback(left.set):
        assert left.wait(60)


@pytest.mark.parametrize("mode", ["unary", "stream"])
def test_answers_that_never_come(server: FakeServer, run: Run, mode: str) -> None:
    hang = itertools.count()

    def silent(context: Any) -> None:
        if next(hang):
            until_it_leaves(context)

    def unary(request: Any, context: Any) -> Any:
        silent(context)
        return embed(request, context)

    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            silent(context)
            yield stream_answer(request)

    server.on(EMBED, unary)
    server.on(EMBED_STREAM, stream)
    ran = run("--mode", mode, "--messages", "2", "--concurrency", "2", "--timeout", "2", "--json")
    assert ran.code == exits.BY_CODE["DEADLINE_EXCEEDED"]
    assert [(e["code"], e["count"]) for e in ran.json["errors"]] == [("DEADLINE_EXCEEDED", 2)]


@pytest.mark.parametrize("mode", ["unary", "stream"])
def test_what_cannot_succeed_is_not_tried_for_long(server: FakeServer, run: Run, mode: str) -> None:
    refusal = status(code_pb2.NOT_FOUND, "There is no model m.", field="model")
    server.on(EMBED, lambda request, context: fail(context, refusal))

    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            answer = stream_answer(request)
            answer.error.CopyFrom(refusal)
            yield answer

    server.on(EMBED_STREAM, stream)
    ran = run("--mode", mode)
    assert (ran.code, ran.out, ran.err) == (3, "", "error: There is no model m.\n")
    assert len(server.requests) == 1


def test_a_busy_server_may_refuse_the_first(server: FakeServer, run: Run) -> None:
    count = itertools.count()

    def unary(request: Any, context: Any) -> Any:
        if next(count) == 0:
            fail(context, status(code_pb2.RESOURCE_EXHAUSTED, retry_after=0.1))
        return embed(request, context)

    server.on(EMBED, unary)
    assert run("--messages", "3").code == 0


def test_nobody_listens(run: Run) -> None:
    ran = run("--target", "127.0.0.1:1")
    assert ran.code == 5
    assert "Is the server running there?" in ran.err


def interrupt() -> None:
    """As the kernel may do it: what sleeps in the main thread is not woken by the signal itself."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_an_interrupt_shows_what_was_measured(server: FakeServer, run: Run) -> None:
    count = itertools.count()

    def unary(request: Any, context: Any) -> Any:
        if next(count) == 40:
            interrupt()
        return embed(request, context)

    server.on(EMBED, unary)
    before = signal.getsignal(signal.SIGINT)
    ran = run("--duration", "600", "--json")
    assert signal.getsignal(signal.SIGINT) is before
    assert ran.code == exits.INTERRUPTED
    assert ran.json["interrupted"] is True
    assert ran.json["messages"]["answered"] >= 20


def test_an_interrupt_before_anything_was_measured(server: FakeServer, run: Run) -> None:
    def unary(request: Any, context: Any) -> Any:
        interrupt()
        until_it_leaves(context)

    server.on(EMBED, unary)
    ran = run()
    assert (ran.code, ran.out) == (exits.INTERRUPTED, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mode", "both"), "unary or stream"),
        (("--rate", "nan"), "rate"),
        (("--messages", "1", "--duration", "1"), "not both"),
        (("--file", "/nonexistent"), "cannot read"),
        (("--texts-per-message", "0"), "texts_per_message"),
        (("--element-type", "float64"), "element_type"),
        (("--connections", "9", "--concurrency", "2"), "connections"),
        (("--client-key", "/nonexistent"), "client_key"),
    ],
)
def test_wrong_usage(server: FakeServer, run: Run, arguments: tuple[str, ...], said: str) -> None:
    ran = run(*arguments)
    assert ran.code == exits.USAGE
    assert said in ran.err
    assert server.calls == []


def test_the_token_goes_along(server: FakeServer, run: Run) -> None:
    assert run("--messages", "1", "--token", "secret-token").code == 0
    assert server.metadata["authorization"] == "Bearer secret-token"


def test_the_real_server(run: Run, tmp_path: Path) -> None:
    write_student(tmp_path / "student")
    registry = Registry.open(tmp_path / "data")
    registry.publish("s", ModelKind.STUDENT, tmp_path / "student")
    registry.close()
    with serving(tmp_path / "data") as real:
        target = ("--target", real.address)
        texts = ("--texts-per-message", "16", "--messages", "60", "--element-type", "float16")
        for mode in ("unary", "stream"):
            ran = run(*target, *texts, "--mode", mode, "--json", model="s")
            assert ran.code == 0
            check_real(ran.json)
        assert run(*target, model="absent").code == 3


def check_real(found: dict[str, Any]) -> None:
    assert found["messages"]["answered"] == 60
    assert found["model_versions"] == ["models/s/versions/1"]
    assert found["per_second"]["tokens"] > found["per_second"]["texts"] > 0
    assert 0 < found["server_seconds"]["total"] < found["latency_seconds"]["mean"]
    # At least the vectors themselves, two bytes an element.
    least = found["per_second"]["texts"] * found["dimensions"] * 2
    assert least < found["per_second"]["bytes_received"] < 3 * least
