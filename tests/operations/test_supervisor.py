"""The front's side, with real runners."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from operations.processes import EXECUTORS, FAST, PROMPT, SECONDS, Room, environment, until
from stillroom_server.operations.model import OperationState
from stillroom_server.operations.pace import Pace
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.supervisor import RunnerSupervisor
from stillroom_server.operations.watch import OperationWatcher
from stillroom_server.operations.worker import WorkerName, current_worker


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "data")


Start = Callable[..., Any]


@pytest.fixture
async def start(room: Room) -> AsyncIterator[Start]:
    started: list[RunnerSupervisor] = []

    async def start(
        executors: str = EXECUTORS, pace: Pace | None = None, **settings: Any
    ) -> RunnerSupervisor:
        supervisor = RunnerSupervisor(
            room.store,
            room.data_dir,
            OperationsSettings(**{**FAST, **settings}),
            {"secret": "hf_secret"},
            pace=pace,
            executors=executors,
            environment=environment(),
        )
        started.append(supervisor)
        await supervisor.start()
        return supervisor

    yield start
    for supervisor in started:
        await supervisor.stop()


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


async def test_a_runner_comes_with_work_and_goes_when_idle_or_stopped(
    room: Room, start: Start
) -> None:
    # On a busy machine a runner takes a while to unwind; killed, it would release nothing.
    supervisor = await start(idle_seconds=0.2, threads=3, nice=7, stop_grace_seconds=PROMPT / 2)
    assert supervisor.runner_pid is None
    made = room.store.create("settings", {})
    done = await OperationWatcher(room.store).wait(made.id, timeout=SECONDS)
    assert done.result is not None
    assert done.result.pop("session") in ("7", None)
    assert done.result == {"secret": "hf_secret", "threads": ["3"] * 3, "nice": 7 + os.nice(0)}
    await eventually(lambda: supervisor.runner_pid is None)

    long = room.steps(1000, 0.02)
    await eventually(lambda: len(room.trace(long)) >= 1)
    pid = supervisor.runner_pid
    assert pid is not None
    assert b"operations.runner" in command_line(pid)
    assert b"hf_secret" not in command_line(pid)
    begun = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - begun < PROMPT
    assert not running(pid)
    left = room.store.get(long)
    assert (left.state, left.lost_attempts) == (OperationState.PENDING, 0)


async def test_the_runner_makes_room_as_soon_as_requests_arrive(room: Room, start: Start) -> None:
    requests = 0
    await start(pace=Pace(lambda: requests, busy_threads=3, idle_threads=4))
    made = room.store.create("paced", {})

    def told() -> int:
        progress = room.store.get(made.id).progress
        return progress.done if progress else 0

    await eventually(lambda: told() == 1)
    requests += 1
    done = await OperationWatcher(room.store).wait(made.id, timeout=SECONDS)
    assert done.result == {"told": [4, 3]}


async def test_a_killed_runner_is_replaced_and_the_operation_resumes(
    room: Room, start: Start
) -> None:
    supervisor = await start()
    made = room.steps(30, 0.02)
    await eventually(lambda: len(room.trace(made)) >= 2)
    first = supervisor.runner_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    done = await OperationWatcher(room.store).wait(made, timeout=SECONDS)
    assert done.state is OperationState.SUCCEEDED
    assert (done.attempt, done.lost_attempts) == (2, 1)
    assert supervisor.runner_pid != first


def claim_by_the_dead(room: Room) -> None:
    """A claim of a process that had this one's id once, and is gone."""
    here = current_worker()
    assert room.store.claim(str(WorkerName(here.place, here.pid, "1")), 3600) is not None


async def test_an_operation_that_kills_its_runner_fails_in_the_end(
    room: Room, start: Start
) -> None:
    poison = room.store.create("suicide", {})
    after = room.steps(1)
    for lost in (0, 1):
        claim_by_the_dead(room)
        assert room.store.reap() == 1
        assert room.store.get(poison.id).lost_attempts == lost + 1
    await start()
    watcher = OperationWatcher(room.store)
    failed = await watcher.wait(poison.id, timeout=SECONDS)
    assert failed.state is OperationState.FAILED
    assert failed.error is not None
    assert failed.error.reason == "ATTEMPTS_EXHAUSTED"
    assert failed.attempt == 3
    assert (await watcher.wait(after, timeout=SECONDS)).state is OperationState.SUCCEEDED


async def test_cancel_works_even_where_no_runner_can_begin(
    room: Room, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    made = room.steps(1)
    claim_by_the_dead(room)
    assert room.store.request_cancel(made).state is OperationState.RUNNING
    await start(executors="operations.executors_for_tests:broken")
    ended = await OperationWatcher(room.store).wait(made, timeout=SECONDS)
    assert ended.state is OperationState.CANCELLED
    log = capfd.readouterr()
    assert "this release is broken" in log.err
    assert log.out == ""


FRONT = """
import asyncio, sys
from pathlib import Path
from operations.processes import EXECUTORS, FAST, environment
from stillroom_registry.registry import Registry
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.supervisor import RunnerSupervisor
from datetime import UTC, datetime

async def main():
    data_dir = Path(sys.argv[1])
    store = OperationStore(Registry.open(data_dir).database, lambda: datetime.now(UTC))
    supervisor = RunnerSupervisor(store, data_dir, OperationsSettings(**FAST), executors=EXECUTORS)
    await supervisor.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_front_takes_its_runner_along_and_the_next_one_resumes(room: Room) -> None:
    made = room.steps(60, 0.02)

    def front() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", FRONT, str(room.data_dir)], env=environment()
        )

    with front() as first:
        room.until_steps(made, 2)
        runner = room.trace(made)[0][2]
        first.kill()
        first.wait()
        begun = time.monotonic()
        room.until_state(made, OperationState.PENDING)
        until(lambda: not running(runner))
        assert time.monotonic() - begun < PROMPT
    with front() as second:
        try:
            done = room.ended(made)
        finally:
            second.kill()
    assert done.state is OperationState.SUCCEEDED
    assert (done.attempt, done.lost_attempts) == (2, 0)
    steps = [step for _, step, _ in room.trace(made)]
    assert steps == list(range(60))
    assert room.effects() == [made]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def running(pid: int) -> bool:
    """Whether a process of any parent still executes: a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
