"""A real runner measures what it executes, and a kill loses little of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from operations.processes import Room, RunnerProcess
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.ledger.accuracy import accuracy
from stillroom_server.cost.ledger.ledger import Ledger


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "data")


def entry_of(room: Room, operation: str) -> dict[str, Any]:
    said = accuracy(Ledger(room.database), operation=f"operations/{operation}", page_size=1)
    entry: dict[str, Any] = said["entries"][0]
    return entry


def value(entry: dict[str, Any], name: str) -> float:
    return Figure.from_json(entry["measured"][name]).numbers()[1]


def test_an_operation_is_measured(room: Room) -> None:
    steps = room.steps(20, 0.02)
    with RunnerProcess(room):
        done = room.ended(steps)
    assert done.start_time is not None
    assert done.end_time is not None
    entry = entry_of(room, steps)
    lived = (done.end_time - done.start_time).total_seconds()
    assert 0.4 <= value(entry, "wall_seconds") <= lived + 0.05
    assert 0 < value(entry, "cpu_seconds") < 5 * lived
    assert value(entry, "peak_memory_bytes") > 10e6
    assert value(entry, "disk_bytes") > 0
    assert [phase["phase"] for phase in entry["measured_phases"]] == ["count", "publish"]
    assert (entry["kind"], entry["attempts"], entry["succeeded"]) == ("steps", 1, True)


def test_a_killed_attempt_counts_as_far_as_it_was_seen(room: Room) -> None:
    steps = room.steps(60, 0.05)
    with RunnerProcess(room) as runner:
        room.until_steps(steps, 30)
        runner.kill()
    with RunnerProcess(room):
        room.ended(steps)
    entry = entry_of(room, steps)
    assert entry["attempts"] == 2
    # Sixty steps of sleep, one of them perhaps twice, and at most a few heartbeats unseen.
    assert value(entry, "wall_seconds") >= 60 * 0.05 - 0.5


def test_two_at_once_are_told_apart_where_they_can_be(room: Room) -> None:
    first, second = room.steps(40, 0.02), room.steps(40, 0.02)
    with RunnerProcess(room, concurrency=2):
        room.ended(first)
        room.ended(second)
    for operation in (first, second):
        entry = entry_of(room, operation)
        assert value(entry, "wall_seconds") >= 0.8
        assert not Figure.from_json(entry["measured"]["cpu_seconds"]).known
