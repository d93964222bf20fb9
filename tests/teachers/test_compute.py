from __future__ import annotations

import threading

import numpy as np
import pytest
from teachers.fakes import Clock, FakeModel, job, rows

from stillroom_registry.errors import StillroomError
from stillroom_server.teachers.compute import Computer
from stillroom_server.teachers.job import Job
from stillroom_server.teachers.queue import WorkQueue


class Ends:
    """Remembers how jobs end."""

    def __init__(self) -> None:
        self.errors: dict[str, StillroomError | None] = {}

    def of(self, name: str, model: FakeModel, lengths: list[int], **more: object) -> Job:
        def on_end(error: StillroomError | None) -> None:
            assert name not in self.errors
            self.errors[name] = error

        return job(model, lengths, on_end=on_end, **more)

    def reason(self, name: str) -> str:
        error = self.errors[name]
        assert error is not None
        return error.reason


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def computer(clock: Clock) -> Computer:
    """Not started: the tests take its steps."""
    return Computer(WorkQueue(1000, 1000), clock)


def test_vectors_return_to_their_texts(computer: Computer, ends: Ends) -> None:
    model = FakeModel()
    one = ends.of("one", model, [5, 2, 9], first=10)
    other = ends.of("other", model, [3, 3], first=50)
    computer.submit(one)
    computer.submit(other)
    while computer.step():
        pass
    assert ends.errors == {"one": None, "other": None}
    assert one.vectors.tolist() == [[10, 5, 0], [11, 2, 0], [12, 9, 0]]
    assert other.vectors.tolist() == [[50, 3, 0], [51, 3, 0]]
    assert len(model.batches) == 1
    (record,) = computer.take_records()
    assert (record.texts, record.tokens, record.padded_tokens) == (5, 22, 45)
    assert computer.take_records() == []


def test_only_the_request_at_fault_fails(computer: Computer, ends: Ends) -> None:
    model = FakeModel()
    model.poison = 51
    good = ends.of("good", model, [5, 5], first=10)
    computer.submit(good)
    computer.submit(ends.of("bad", model, [5, 5], first=50))
    while computer.step():
        pass
    assert ends.errors["good"] is None
    assert good.vectors[:, 0].tolist() == [10, 11]
    assert ends.reason("bad") == "TEACHER_FAILED"
    assert computer.requests == 0


def test_late_requests_end_uncomputed(computer: Computer, ends: Ends, clock: Clock) -> None:
    model = FakeModel()
    computer.submit(ends.of("late", model, [5], deadline=clock.now + 1, first=7))
    computer.submit(ends.of("fine", model, [5], deadline=clock.now + 9))
    clock.now += 2
    computer.step()
    assert ends.reason("late") == "DEADLINE_EXCEEDED"
    assert model.batches == [[0]]


def test_cancelled_requests_cost_nothing_and_hear_nothing(computer: Computer, ends: Ends) -> None:
    model = FakeModel()
    gone = ends.of("gone", model, [5], first=7)
    computer.submit(gone)
    computer.submit(ends.of("stays", model, [5]))
    computer.cancel(gone)
    computer.step()
    assert list(ends.errors) == ["stays"]
    assert model.batches == [[0]]


def test_texts_without_tokens_are_zeros(computer: Computer, ends: Ends) -> None:
    mixed = ends.of("mixed", FakeModel(), [0, 4], first=3)
    computer.submit(mixed)
    computer.submit(ends.of("nothing", FakeModel(), [0]))
    assert ends.errors == {"nothing": None}
    computer.step()
    assert mixed.vectors.tolist() == [[0, 0, 0], [4, 4, 0]]


def test_the_thread_computes_and_stops(ends: Ends) -> None:
    computer = Computer(WorkQueue(1000, 1000))
    computer.start()
    done = threading.Event()
    made = Job(FakeModel(), rows([4, 4]), on_end=lambda error: done.set())
    computer.submit(made)
    assert done.wait(60)
    np.testing.assert_array_equal(made.vectors[:, 1], [4, 4])
    computer.stop()
    computer.submit(ends.of("after", FakeModel(), [1]))
    assert ends.reason("after") == "TEACHER_ENGINE_LOST"
