"""A real runner measures what it executes, and a kill loses little of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from operations.processes import Room, RunnerProcess, until
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.ledger.accuracy import accuracy
from stillroom_server.cost.ledger.ledger import Ledger
from stillroom_server.cost.ledger.schema import expectations
from stillroom_server.cost.ledger.tally import Tally


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "data")


def entry_of(room: Room, operation: str) -> dict[str, Any]:
    said = accuracy(Ledger(room.database), operation=f"operations/{operation}", page_size=1)
    entry: dict[str, Any] = said["entries"][0]
    return entry


def value(entry: dict[str, Any], name: str) -> float:
    return Figure.from_json(entry["measured"][name]).numbers()[1]


def seen(room: Room, operation: str) -> float:
    """Seconds of its first attempt that the heartbeats have kept so far."""
    mine = expectations.c.operation == operation
    with room.database.read() as connection:
        text = connection.execute(sa.select(expectations.c.tally).where(mine)).scalar()
    return Tally.from_json(json.loads(text)["now"]).whole.wall if text else 0.0


def test_an_operation_is_measured(room: Room) -> None:
    steps = room.steps(20, 0.02)
    with RunnerProcess(room):
        done = room.ended(steps)
    assert done.start_time is not None
    assert done.end_time is not None
    entry = entry_of(room, steps)
    lived = (done.end_time - done.start_time).total_seconds()
    # Its end is noted a moment after it is measured, or before.
    assert 20 * 0.02 <= value(entry, "wall_seconds") <= lived + 10.0
    assert 0 < value(entry, "cpu_seconds") < 5 * lived
    assert value(entry, "peak_memory_bytes") > 10e6
    assert value(entry, "disk_bytes") > 0
    assert [phase["phase"] for phase in entry["measured_phases"]] == ["count", "publish"]
    assert (entry["kind"], entry["attempts"], entry["succeeded"]) == ("steps", 1, True)


def test_a_killed_attempt_counts_as_far_as_it_was_seen(room: Room) -> None:
    steps = room.steps(60, 0.05)
    with RunnerProcess(room) as runner:
        room.until_steps(steps, 30)
        until(lambda: seen(room, steps) >= 30 * 0.05)
        runner.kill()
    taken = len(room.trace(steps))
    with RunnerProcess(room):
        room.ended(steps)
    entry = entry_of(room, steps)
    assert entry["attempts"] == 2
    assert value(entry, "wall_seconds") >= 30 * 0.05 + (60 - taken) * 0.05


def test_two_at_once_are_told_apart_where_they_can_be(room: Room) -> None:
    first, second = room.steps(100, 0.02), room.steps(100, 0.02)
    with RunnerProcess(room, concurrency=2):
        room.ended(first)
        room.ended(second)
    for operation in (first, second):
        entry = entry_of(room, operation)
        assert value(entry, "wall_seconds") >= 100 * 0.02
        assert not Figure.from_json(entry["measured"]["cpu_seconds"]).known
