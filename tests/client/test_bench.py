"""The arithmetic and the loops of the load generator, in virtual time: nothing here waits."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from client.fake_server import embeddings, status
from stillroom.bench.driver import pause_after
from stillroom.bench.histogram import Histogram
from stillroom.bench.messages import MAX_TEXTS, Messages, make_messages
from stillroom.bench.pace import Pace, admit, overlap
from stillroom.bench.plan import make_plan
from stillroom.bench.report import Report
from stillroom.bench.run import measure
from stillroom.bench.tally import Tally
from stillroom.errors import Internal, InvalidArgument, ResourceExhausted, Unavailable
from stillroom.v1 import embedding_service_pb2 as pb

Ask = Callable[[bytes], Awaitable[bytes]]


class _Jump(selectors.SelectSelector):
    """Instead of waiting it moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits for nothing"
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time and clocks are exact."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def virtually(coroutine: Coroutine[Any, Any, Report]) -> Report:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


ANSWER = pb.EmbedResponse(embeddings=embeddings(["two words", "and"])).SerializeToString()
MESSAGES = Messages([b"first", b"second!"], 2, 4, False, "unary")


def load(*lanes: Ask, stop_after: float | None = None, **plan: Any) -> Report:
    """Measures ``lanes`` in virtual time."""

    async def run() -> Report:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        if stop_after is not None:
            loop.call_later(stop_after, stop.set)
        cpu = lambda: (loop.time() * 0.5, loop.time() * 0.25)  # noqa: E731
        return await measure(
            make_plan(**plan), MESSAGES, lanes, stop=stop, clock=loop.time, usage=cpu
        )

    return virtually(run())


def steady(seconds: float) -> Ask:
    """A server without limits that answers after so many seconds."""

    async def ask(data: bytes) -> bytes:
        await asyncio.sleep(seconds)
        return ANSWER

    return ask


def one_at_a_time(seconds: Callable[[int], float]) -> Ask:
    """A server that works on one message after another, ``seconds(i)`` on message i."""
    lock = asyncio.Lock()
    count = 0

    async def ask(data: bytes) -> bytes:
        nonlocal count
        async with lock:
            count += 1
            await asyncio.sleep(seconds(count - 1))
        return ANSWER

    return ask


# --- histogram


@pytest.mark.parametrize("scale", [2e-5, 3e-3, 40.0])
def test_quantiles_are_within_a_percent(scale: float) -> None:
    values = np.random.default_rng(7).lognormal(0, 1.5, 20_000) * scale
    histogram = Histogram()
    for value in values:
        histogram.record(float(value))
    summary = histogram.summary()
    assert summary is not None
    exact = np.quantile(values, [0.5, 0.9, 0.99, 0.999], method="inverted_cdf")
    found = [summary.p50, summary.p90, summary.p99, summary.p99_9]
    np.testing.assert_allclose(found, exact, rtol=0.0051)
    assert summary.max == values.max()
    assert summary.mean == pytest.approx(values.mean())
    assert summary.count == len(values)


def test_a_histogram_stays_small_whatever_it_is_given() -> None:
    histogram = Histogram()
    assert histogram.summary() is None
    buckets = len(histogram._counts)
    assert buckets < 5000
    for value in (-1.0, 0.0, 1e-12, 5e-324, 1e-7, 1e5, 1e300):
        histogram.record(value)
    assert len(histogram._counts) == buckets
    assert sum(histogram._counts) == histogram.count == 7
    assert histogram.quantile(0.001) < 1.1e-7
    assert histogram.quantile(1.0) == pytest.approx(1e5, rel=0.01)


def test_one_value_is_answered_exactly() -> None:
    histogram = Histogram()
    histogram.record(0.0123)
    assert {histogram.quantile(q) for q in (0.0, 0.5, 0.999, 1.0)} == {0.0123}


# --- pace


@given(
    st.floats(0, 1e6), st.floats(1e-3, 1e6), st.integers(0, 10_000), st.sampled_from([0, 0.5, 1.0])
)
def test_due_and_before_agree_with_time_of(
    start: float, rate: float, index: int, part: float
) -> None:
    pace = Pace(start, rate)
    moment = pace.time_of(index) + part / rate
    before = pace.before(moment)
    assert pace.time_of(before) >= moment
    assert before == 0 or pace.time_of(before - 1) < moment
    due = pace.due(moment)
    assert pace.time_of(due) > moment
    assert due == 0 or pace.time_of(due - 1) <= moment
    assert pace.wait(due, moment) > 0  # so the loop always gets on
    assert pace.wait(0, moment) == 0


def test_no_more_is_admitted_than_may_be_in_flight() -> None:
    assert admit(5, 0, 3) == 3
    assert admit(5, 2, 10) == 5
    assert admit(5, 10, 10) == admit(0, 0, 10) == admit(1, 11, 10) == 0


def test_overlap() -> None:
    for first in range(6):
        for last in range(first, 6):
            for low in range(6):
                for high in range(low, 6):
                    both = set(range(first, last)) & set(range(low, high))
                    assert overlap(first, last, low, high) == len(both)


# --- loops


def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    seen, most = 0, 0

    async def ask(data: bytes) -> bytes:
        nonlocal seen, most
        seen += 1
        most = max(most, seen)
        await asyncio.sleep(0.01)
        seen -= 1
        return ANSWER

    report = load(ask, concurrency=4, duration=2.0, warm_up=0.5)
    assert most == 4
    assert report.messages_per_second == pytest.approx(400, rel=0.01)
    assert report.texts_per_second == pytest.approx(2 * report.messages_per_second)
    assert report.tokens_per_second == pytest.approx(3 * report.messages_per_second)
    assert report.bytes_sent == pytest.approx(6 * report.messages_per_second, rel=0.01)
    assert report.bytes_received == pytest.approx(len(ANSWER) * report.messages_per_second)
    assert report.latency is not None
    assert report.latency.p50 == report.latency.max == pytest.approx(0.01)
    assert report.seconds == pytest.approx(2.0)
    assert report.begun == report.answered == pytest.approx(800, abs=8)
    assert (report.failed, report.unanswered, report.unsent, report.lag) == (0, 0, 0, None)
    assert (report.cpu, report.thread) == pytest.approx((0.5, 0.25))
    assert report.model_versions == ("models/fake/versions/1",)
    assert report.dimensions == 2


def test_messages_are_sent_in_turn_over_all_lanes() -> None:
    sent: list[tuple[int, bytes]] = []

    def lane(number: int) -> Ask:
        async def ask(data: bytes) -> bytes:
            sent.append((number, data))
            await asyncio.sleep(0.01)
            return ANSWER

        return ask

    report = load(lane(0), lane(1), concurrency=2, connections=2, messages=7, warm_up=0)
    assert report.answered == len(sent) == 7
    assert [data for _, data in sent] == [b"first", b"second!"] * 3 + [b"first"]
    assert {number for number, _ in sent} == {0, 1}
    sent.clear()
    load(lane(0), lane(1), rate=100.0, connections=2, messages=4, warm_up=0)
    assert [number for number, _ in sent] == [0, 1, 0, 1]


def test_the_warm_up_is_not_measured() -> None:
    """Slow at first, as caches and models are that nobody used yet."""
    report = load(
        one_at_a_time(lambda i: 0.5 if i < 2 else 0.01), concurrency=1, messages=100, warm_up=1.0
    )
    assert report.begun == report.answered == 100
    assert report.latency is not None
    assert report.latency.max == pytest.approx(0.01)
    assert report.messages_per_second == pytest.approx(100, rel=0.02)


def test_a_message_that_outlasts_the_measurement_counts() -> None:
    """Dropping those still in flight would drop the slowest."""
    report = load(
        one_at_a_time(lambda i: 5.0 if i == 50 else 0.01), concurrency=1, duration=1.0, warm_up=0
    )
    assert report.begun == report.answered == 51
    assert report.latency is not None
    assert report.latency.max == pytest.approx(5.0)
    assert report.seconds == pytest.approx(1.0)
    assert report.messages_per_second == pytest.approx(50)  # the last came too late for the rate


def test_an_open_loop_measures_from_when_it_meant_to_send() -> None:
    """A server that stops for a second: all that were due meanwhile waited for it."""
    server = one_at_a_time(lambda i: 1.0 if i == 100 else 0.001)
    report = load(server, rate=100.0, duration=4.0, warm_up=0)
    assert report.begun == report.answered == 400
    assert report.unsent == 0
    assert report.latency is not None
    assert report.latency.max == pytest.approx(1.0, rel=0.01)
    # Some 110 of 400 messages waited, evenly between 0 and 1 s.
    assert report.latency.p90 == pytest.approx(0.64, abs=0.05)
    assert report.latency.p50 == pytest.approx(0.001, rel=0.01)
    closed = load(
        one_at_a_time(lambda i: 1.0 if i == 100 else 0.001), concurrency=1, messages=400, warm_up=0
    )
    assert closed.latency is not None
    assert closed.latency.p99 == pytest.approx(0.001, rel=0.01)  # which is why there are open loops


def test_a_client_that_is_late_says_so_and_counts_it() -> None:
    async def run() -> Report:
        loop = asyncio.get_running_loop()
        sleeps = 0

        async def sleep(seconds: float) -> None:
            nonlocal sleeps
            sleeps += 1
            await asyncio.sleep(2.0 if sleeps == 50 else seconds)

        plan = make_plan(rate=10.0, messages=100, warm_up=0)
        return await measure(plan, MESSAGES, [steady(0.001)], clock=loop.time, sleep=sleep)

    report = virtually(run())
    assert report.begun == report.answered == 100
    assert report.lag is not None
    assert report.latency is not None
    assert report.lag.max == pytest.approx(1.9)
    assert report.latency.max == pytest.approx(1.901)
    assert report.lag.p50 == pytest.approx(0, abs=1e-6)


def test_an_open_loop_sends_at_its_rate_and_no_more_than_may_be_in_flight() -> None:
    """Five times what the server can do: what is in flight is bounded, the rest is counted."""
    report = load(
        one_at_a_time(lambda i: 0.01), rate=500.0, concurrency=20, duration=2.0, warm_up=1.0
    )
    assert report.begun + report.unsent == pytest.approx(1000, abs=1)
    assert report.messages_per_second == pytest.approx(100, rel=0.02)
    assert report.answered == report.begun == pytest.approx(200, abs=3)
    assert report.latency is not None
    assert report.latency.max == pytest.approx(0.2, rel=0.06)


def test_an_open_loop_that_keeps_up_drops_nothing() -> None:
    report = load(steady(0.05), rate=1000.0, concurrency=60, duration=2.0, warm_up=0.5)
    assert report.begun == report.answered == 2000
    assert report.unsent == 0
    assert report.messages_per_second == pytest.approx(1000, rel=0.001)


def test_failures_are_counted_by_code_and_reason_and_timed_apart() -> None:
    count = 0

    async def ask(data: bytes) -> bytes:
        nonlocal count
        count += 1
        await asyncio.sleep(0.001 if count % 2 else 0.1)
        if count % 4 == 1:
            raise ResourceExhausted("busy", reason="TOO_MANY_REQUESTS")
        if count % 4 == 3:
            return b"\xff"
        return ANSWER

    report = load(ask, concurrency=1, messages=40, warm_up=0)
    assert (report.begun, report.answered, report.failed) == (40, 20, 20)
    assert {(e.code, e.reason): e.count for e in report.errors} == {
        ("RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS"): 10,
        ("INTERNAL", "MALFORMED_ANSWER"): 10,
    }
    assert report.failure is not None
    assert report.latency is not None
    assert report.failure.max == pytest.approx(0.001)
    assert report.latency.p50 == pytest.approx(0.1)


def test_different_errors_without_end_fill_no_memory() -> None:
    tally = Tally(0.0, math.inf, lambda: (0.0, 0.0))
    for number in range(1000):
        tally.begin(1.0, 1.0)
        tally.fail(1.0, 2.0, Internal("no", reason=f"R{number}"))
    assert len(tally.errors) < 100
    assert sum(error.count for error in tally.errors.values()) == tally.failed == 1000


def test_a_closed_loop_waits_as_it_is_asked_to() -> None:
    times: list[float] = []

    async def ask(data: bytes) -> bytes:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        raise ResourceExhausted("busy", retry_after=0.25)

    load(ask, concurrency=1, messages=3, warm_up=0)
    assert np.diff(times) == pytest.approx([0.25, 0.25])
    assert pause_after(ResourceExhausted("x", retry_after=60.0)) == 1.0
    assert pause_after(ResourceExhausted("x")) == 0.0
    assert 0 < pause_after(Unavailable("x")) <= 1.0


@pytest.mark.parametrize("plan", [{"concurrency": 3}, {"rate": 300.0}])
def test_stopping_early_answers_what_there_is(plan: dict[str, Any]) -> None:
    report = load(steady(0.01), stop_after=2.005, duration=60.0, warm_up=1.0, **plan)
    assert report.interrupted
    assert report.seconds == pytest.approx(1.005)
    assert report.unanswered == pytest.approx(3, abs=1)
    assert report.answered == report.begun - report.unanswered == pytest.approx(300, rel=0.02)
    assert report.messages_per_second == pytest.approx(300, rel=0.02)


def test_stopping_in_the_warm_up_measured_nothing() -> None:
    report = load(steady(0.01), stop_after=0.5, duration=60.0, warm_up=1.0)
    assert report.interrupted
    assert (report.begun, report.answered, report.seconds, report.texts_per_second) == (0, 0, 0, 0)
    assert report.latency is None


# --- plans and messages


@pytest.mark.parametrize(
    ("field", "plan"),
    [
        ("mode", {"mode": "both"}),
        ("concurrency", {"concurrency": 0}),
        ("connections", {"connections": 5, "concurrency": 4}),
        ("connections", {"connections": 0}),
        ("rate", {"rate": math.nan}),
        ("rate", {"rate": 0.0}),
        ("rate", {"rate": math.inf}),
        ("duration", {"duration": 0.0}),
        ("messages", {"messages": 0}),
        ("messages", {"messages": 5, "duration": 1.0}),
        ("warm_up", {"warm_up": -1.0}),
        ("timeout", {"timeout": 0.0}),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(field: str, plan: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make_plan(**plan)
    assert caught.value.field == field


def test_defaults_of_a_plan() -> None:
    plan = make_plan()
    assert (plan.duration, plan.warm_up, plan.concurrency) == (10.0, 1.0, 8)
    assert make_plan(connections=20).concurrency == 20
    assert make_plan(rate=5.0).concurrency == 1000
    assert make_plan(messages=5).duration is None


def texts_of(messages: Messages) -> list[list[str]]:
    kind = pb.EmbedRequest if messages.mode == "unary" else pb.EmbedStreamRequest
    return [list(kind.FromString(data).texts) for data in messages.data]


def test_texts_go_round() -> None:
    made = make_messages("abcde", 2, "unary", "m", pb.EmbedOptions(dimensions=3))
    assert texts_of(made) == [["a", "b"], ["c", "d"], ["e", "a"]]
    assert made.at(4) == made.at(1)
    request = pb.EmbedRequest.FromString(made.at(0))
    assert (request.model, request.options.dimensions) == ("m", 3)
    assert texts_of(make_messages("ab", 5, "stream", "m", pb.EmbedOptions())) == [[*"ababa"]]


def test_of_a_long_file_only_the_beginning_is_kept() -> None:
    read = 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield "x"

    made = make_messages(endless(), 4096, "stream", "m", pb.EmbedOptions())
    assert made.cut
    assert made.texts == MAX_TEXTS == read - 1
    long = make_messages(("y" * (1 << 20) for _ in range(100)), 1, "unary", "m", pb.EmbedOptions())
    assert long.cut
    assert long.texts == 32


@pytest.mark.parametrize(
    ("texts", "size", "field"),
    [
        ([], 1, "file"),
        (["a"], 0, "texts_per_message"),
        (["a"], MAX_TEXTS + 1, "texts_per_message"),
        (["a" * 10_000], 100_000, "texts_per_message"),
    ],
)
def test_messages_that_cannot_be_made(texts: list[str], size: int, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make_messages(texts, size, "unary", "m", pb.EmbedOptions())
    assert caught.value.field == field


def test_answers_are_checked() -> None:
    stream = Messages([b""], 2, 2, False, "stream")
    good = pb.EmbedStreamResponse(embeddings=embeddings(["a", "b"]))
    assert list(stream.answer(good.SerializeToString()).token_counts) == [1, 1]
    short = pb.EmbedStreamResponse(embeddings=embeddings(["a"]))
    with pytest.raises(Internal, match="1 vectors for 2 texts"):
        stream.answer(short.SerializeToString())
    refused = pb.EmbedStreamResponse(
        error=status(code_pb2.INVALID_ARGUMENT, "no", reason="WHY", field="texts[0]")
    )
    with pytest.raises(InvalidArgument) as caught:
        stream.answer(refused.SerializeToString())
    assert (caught.value.reason, caught.value.field) == ("WHY", "texts[0]")
