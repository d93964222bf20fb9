"""Turns between requests, cancelling, errors, and refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError

import pytest

from stillroom_registry.errors import Internal, ResourceExhausted
from stillroom_server.inference.transformer.lanes import Lanes
from stillroom_server.inference.transformer.speed import Speed

SECONDS = 60


def until(condition: Callable[[], bool]) -> None:
    """Who waits for a future is woken before its callbacks, which count the work, have run."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


class Batches:
    """Work of so many batches that tells of each, and may wait in one or fail in one."""

    def __init__(self, name: str, count: int, log: list[str]) -> None:
        self.name, self.count, self.log = name, count, log
        self.at: dict[int, Callable[[], object]] = {}

    def prepare(self) -> Sequence[Callable[[], None]]:
        return [lambda number=number: self.one(number) for number in range(self.count)]  # type: ignore[misc]

    def one(self, number: int) -> None:
        self.log.append(f"{self.name}{number}")
        if number in self.at:
            self.at[number]()

    def finish(self) -> str:
        return self.name


def test_a_small_request_waits_for_a_batch_of_a_large_one_and_no_more() -> None:
    lanes, log = Lanes(1), list[str]()
    large, small = Batches("l", 5, log), Batches("s", 2, log)
    entered, may_go = threading.Event(), threading.Event()
    large.at[0] = lambda: (entered.set(), may_go.wait(SECONDS))
    first = lanes.submit(large)
    assert entered.wait(SECONDS)
    second = lanes.submit(small)
    may_go.set()
    assert (first.result(SECONDS), second.result(SECONDS)) == ("l", "s")
    assert log == ["l0", "s0", "l1", "s1", "l2", "l3", "l4"]


def test_a_request_alone_has_all_threads() -> None:
    lanes = Lanes(3)
    work = Batches("x", 9, [])
    together = threading.Barrier(3)
    work.at = dict.fromkeys(range(9), lambda: together.wait(SECONDS))
    assert lanes.submit(work).result(SECONDS) == "x"


def test_who_leaves_is_not_computed_further() -> None:
    lanes, log = Lanes(1), list[str]()
    work = Batches("x", 50, log)
    entered, may_go = threading.Event(), threading.Event()
    work.at[3] = lambda: (entered.set(), may_go.wait(SECONDS))
    future = lanes.submit(work, seconds=4)
    assert entered.wait(SECONDS)
    waiting = lanes.submit(Batches("y", 1, log))
    assert future.cancel()
    assert waiting.cancel()
    may_go.set()
    assert lanes.submit(Batches("z", 1, log)).result(SECONDS) == "z"
    assert log == ["x0", "x1", "x2", "x3", "z0"]
    assert lanes.seconds_ahead == 0
    with pytest.raises(CancelledError):
        future.result()


class Panic(BaseException):
    pass


@pytest.mark.parametrize("error", [Internal("broken"), Panic("index")])
@pytest.mark.parametrize("phase", ["prepare", "batch", "finish"])
def test_an_error_is_its_requests_alone(error: BaseException, phase: str) -> None:
    lanes, log = Lanes(2), list[str]()
    work = Batches("x", 40, log)
    known = threading.Event()

    def fail() -> str:
        raise error

    if phase == "batch":
        # What the other thread is at meanwhile lasts until the error is known.
        work.at = dict.fromkeys(range(6, 40), lambda: known.wait(SECONDS)) | {5: fail}
    else:
        setattr(work, phase, fail)
    future = lanes.submit(work, seconds=3)
    future.add_done_callback(lambda _: known.set())
    with pytest.raises(type(error)):
        future.result(SECONDS)
    assert lanes.submit(Batches("y", 3, log)).result(SECONDS) == "y"
    assert len([entry for entry in log if entry[0] == "x"]) < 40 or phase == "finish"
    until(lambda: lanes.seconds_ahead == 0)


def test_work_without_batches_ends() -> None:
    assert Lanes(2).submit(Batches("x", 0, [])).result(SECONDS) == "x"


def test_too_much_work_ahead_is_refused() -> None:
    lanes, work = Lanes(1, max_seconds=10), Batches("x", 1, [])
    may_go = threading.Event()
    work.at[0] = lambda: may_go.wait(SECONDS)
    running = [lanes.submit(work, seconds=6), lanes.submit(work, seconds=5)]
    with pytest.raises(ResourceExhausted) as caught:
        lanes.admit()
    assert caught.value.reason == "STUDENT_TOO_BUSY"
    assert caught.value.retry_after == pytest.approx(1)
    assert running[1].cancel()
    lanes.admit()
    with pytest.raises(ResourceExhausted):
        lanes.admit(seconds_left=5)
    may_go.set()
    running[0].result(SECONDS)
    until(lambda: lanes.seconds_ahead == 0)
    lanes.admit(seconds_left=0.1)


def test_speed_follows_the_latest_work() -> None:
    speed = Speed()
    assert speed.seconds(1000) == 0
    speed.measured(1000, 2.0)
    assert speed.seconds(500) == pytest.approx(1)
    for _ in range(20):
        speed.measured(200_000, 20.0)
    assert speed.seconds(10_000) == pytest.approx(1, rel=0.05)
