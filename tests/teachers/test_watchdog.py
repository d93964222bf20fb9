from __future__ import annotations

from teachers.fakes import Clock

from stillroom_server.teachers.values import BatchRecord, EngineReport
from stillroom_server.teachers.watchdog import Watchdog

BUSY = EngineReport((), (), 3)
COMPUTED = EngineReport((), (BatchRecord(1, 2, 2, 0.1),), 3)
IDLE = EngineReport((), (), 0)


def test_silence_is_hanging_after_its_seconds_and_not_before() -> None:
    clock = Clock()
    dog = Watchdog(10, clock)
    clock.now += 9.9
    assert not dog.hangs()
    clock.now += 0.1
    assert dog.hangs()
    dog.rest()
    assert not dog.hangs()


def test_answers_without_progress_are_no_life() -> None:
    clock = Clock()
    dog = Watchdog(10, clock)
    for _ in range(11):
        clock.now += 1
        dog.heard(BUSY)
    assert dog.hangs()


def test_a_batch_or_an_empty_queue_is() -> None:
    clock = Clock()
    dog = Watchdog(10, clock)
    for report in (COMPUTED, IDLE, COMPUTED):
        clock.now += 9
        dog.heard(report)
        assert not dog.hangs()
