"""A real runner process: what it does, and what remains when it is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from operations.processes import PROMPT, SECONDS, Room, RunnerProcess, until
from stillroom_server.operations.model import OperationState


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "data")


def test_operations_run_in_order_to_their_ends(room: Room) -> None:
    first, second = room.steps(3), room.steps(2)
    failures = {
        how: room.store.create("failing", {"how": how}).id
        for how in ("domain", "disk", "memory", "foreign", "exit", "result")
    }
    unknown = room.store.create("juggle", {}).id
    orphan = room.data_dir / "operations" / "long-gone"
    orphan.mkdir()
    with RunnerProcess(room) as runner:
        assert room.ended(unknown).error is not None
        os.kill(runner.process.pid, signal.SIGTERM)
        assert runner.process.wait(SECONDS) == 0
        log = runner.log()

    done = room.store.get(first)
    assert done.state is OperationState.SUCCEEDED
    assert done.result == {"first": 0, "attempt": 1}
    assert done.progress is not None
    assert (done.progress.phase, done.progress.phase_index) == ("publish", 1)
    assert room.effects() == [first, second]
    errors = {how: room.store.get(id_).error for how, id_ in failures.items()}
    assert {how: (error.code, error.reason) for how, error in errors.items() if error} == {
        "domain": ("InvalidArgument", "NO_LAYER"),
        "disk": ("ResourceExhausted", "DISK_FULL"),
        "memory": ("ResourceExhausted", "OUT_OF_MEMORY"),
        "foreign": ("Internal", "UNEXPECTED_ERROR"),
        "exit": ("Internal", "UNEXPECTED_ERROR"),
        "result": ("Internal", "BAD_RESULT"),
    }
    assert errors["domain"] is not None
    assert errors["domain"].field == "layer"
    assert errors["foreign"] is not None
    assert "hf_secret" not in errors["foreign"].message
    assert "RuntimeError" in errors["foreign"].message
    assert "Traceback" in log
    unknown_error = room.store.get(unknown).error
    assert unknown_error is not None
    assert (unknown_error.code, unknown_error.reason) == ("Unimplemented", "UNKNOWN_KIND")
    assert list((room.data_dir / "operations").iterdir()) == []


def test_kill_9_resumes_from_the_checkpoint(room: Room) -> None:
    made = room.steps(40, 0.02)
    with RunnerProcess(room, lease_seconds=3600) as runner:
        room.until_steps(made, 3)
        runner.kill()
    assert room.store.get(made).state is OperationState.RUNNING
    assert (room.data_dir / "operations" / made / "checkpoint").exists()
    killed = len(room.trace(made))

    # The lease has most of an hour left; that the process is dead is known at once.
    with RunnerProcess(room):
        done = room.ended(made)
    assert done.state is OperationState.SUCCEEDED
    assert (done.attempt, done.lost_attempts) == (2, 1)
    assert done.result is not None
    assert killed - 1 <= done.result["first"] <= killed
    assert room.effects() == [made]


def test_the_end_of_stdin_ends_the_runner_whatever_it_does(room: Room) -> None:
    made = room.store.create("stubborn", {"seconds": 60}).id
    with RunnerProcess(room) as runner:
        room.until_state(made, OperationState.RUNNING)
        begun = time.monotonic()
        runner.close_stdin()
        assert runner.process.wait(SECONDS) == 0
        assert time.monotonic() - begun < PROMPT
    left = room.store.get(made)
    assert (left.state, left.lost_attempts) == (OperationState.PENDING, 0)


def test_cancel_while_running(room: Room) -> None:
    """Within two seconds: by the executor, which looks, or by the end of its process."""
    made = room.steps(1000, 0.02)
    after = room.steps(1)
    with RunnerProcess(room, cancel_grace_seconds=4.0) as runner:
        room.until_steps(made, 2)
        begun = time.monotonic()
        room.store.request_cancel(made)
        cancelled = room.ended(made)
        assert time.monotonic() - begun < PROMPT
        assert room.ended(after).state is OperationState.SUCCEEDED

        stubborn = room.store.create("stubborn", {"seconds": 60}).id
        room.until_state(stubborn, OperationState.RUNNING)
        begun = time.monotonic()
        room.store.request_cancel(stubborn)
        assert room.ended(stubborn).state is OperationState.CANCELLED
        assert time.monotonic() - begun < PROMPT
        assert runner.process.wait(SECONDS) == 0
    assert cancelled.state is OperationState.CANCELLED
    assert cancelled.error is not None
    assert cancelled.error.code == "Cancelled"
    assert room.effects() == [after]
    assert list((room.data_dir / "operations").iterdir()) == []


def suspend(room: Room, pid: int) -> None:
    """SIGSTOP at a moment when the process is in no transaction, which would block everybody."""
    driver = room.database.driver
    for _ in range(100):
        os.kill(pid, signal.SIGSTOP)
        connection = driver.module.connect(
            str(room.database.path), timeout=0.2, isolation_level=None
        )
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return
        except driver.module.OperationalError:
            os.kill(pid, signal.SIGCONT)
        finally:
            connection.close()
    raise AssertionError("the process is always in a transaction")


def test_two_runners_share_the_queue_and_no_operation(room: Room) -> None:
    shared = [room.steps(4, 0.01) for _ in range(6)]
    # A busy machine may keep one from unwinding for a while; that would end its process.
    patient = {"lease_seconds": 2.0, "cancel_grace_seconds": 30.0}
    with RunnerProcess(room, **patient) as one, RunnerProcess(room, **patient) as two:
        for operation_id in shared:
            assert room.ended(operation_id).state is OperationState.SUCCEEDED
        for operation_id in shared:
            attempts = [attempt for attempt, *_ in room.trace(operation_id)]
            assert attempts == sorted(attempts)

        # A suspended one loses its claim, and can do no harm when it wakes up.
        made = room.steps(40, 0.05)
        room.until_steps(made, 2)
        owner = room.trace(made)[-1][2]
        first_attempt = room.store.get(made).attempt
        suspend(room, owner)
        try:
            until(lambda: room.store.get(made).attempt > first_attempt)
        finally:
            os.kill(owner, signal.SIGCONT)
        done = room.ended(made)
        assert {one.process.poll(), two.process.poll()} == {None}
    assert done.state is OperationState.SUCCEEDED
    assert done.result is not None
    assert done.result["attempt"] == done.attempt > first_attempt
    assert sorted(room.effects()) == sorted([*shared, made])
    attempts = [attempt for attempt, *_ in room.trace(made)]
    assert attempts == sorted(attempts)  # nothing of the first after the second had begun


def test_random_kills_lose_nothing(room: Room) -> None:
    """kill -9 at random moments, publishing included: an effect if and only if there is success.

    STILLROOM_KILLS raises the number of kills, STILLROOM_SEED sets the moments.
    """
    kills = int(os.environ.get("STILLROOM_KILLS", "1"))
    dice = random.Random(int(os.environ.get("STILLROOM_SEED", "1")))
    made = [room.steps(8, 0.01, publish_seconds=0.05)]
    for _ in range(kills):
        with RunnerProcess(room) as runner:
            if not any(not room.store.get(operation_id).done for operation_id in made[-1:]):
                made.append(room.steps(8, 0.01, publish_seconds=0.05))
            room.until_state(made[-1], OperationState.RUNNING)
            time.sleep(dice.uniform(0.0, 0.3))
            runner.kill()
        for operation_id in made:
            succeeded = room.store.get(operation_id).state is OperationState.SUCCEEDED
            assert room.effects().count(operation_id) == int(succeeded)
    made.append(room.steps(1))
    with RunnerProcess(room):
        ended = [room.ended(operation_id) for operation_id in made]
    for operation in ended:
        if operation.state is OperationState.FAILED:
            assert operation.error is not None
            assert operation.error.reason == "ATTEMPTS_EXHAUSTED"
            assert operation.lost_attempts == 3
        else:
            assert operation.state is OperationState.SUCCEEDED
        assert room.effects().count(operation.id) == int(
            operation.state is OperationState.SUCCEEDED
        )
