"""The runner's loop within this process, with executors that the test holds by the hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.support import LEASE, WallClock
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.model import Json, OperationState
from stillroom_server.operations.runner import Runner
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.workspaces import Workspaces


class Held:
    """Holds on, deaf to everything, until the test lets go."""

    kind = "held"
    phases = ("hold",)

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.runs = 0

    def run(self, request: Json, context: OperationContext) -> Json:
        self.runs += 1
        self.begun.release()
        self.let_go.wait(60)
        return {}


class Loop:
    def __init__(self, store: OperationStore, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.executor = Held()
        self.stop = threading.Event()
        self.clean: bool | None = None
        self.thread: threading.Thread | None = None

    def start(self, **settings: float) -> None:
        fast = {
            "tick_seconds": 0.01,
            "heartbeat_seconds": 0.05,
            "stop_grace_seconds": 0.05,
            "cancel_grace_seconds": 0.05,
            "lease_seconds": LEASE,
        }
        runner = Runner(
            self.store,
            {"held": self.executor},
            Workspaces(self.folder),
            OperationsSettings.model_validate({**fast, **settings}),
            "worker-a",
        )

        def run() -> None:
            self.clean = runner.run(self.stop)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def wait_for_begin(self) -> None:
        assert self.executor.begun.acquire(timeout=60)

    def wait_for_end(self) -> bool | None:
        assert self.thread is not None
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.clean


@pytest.fixture
def loop(store: OperationStore, tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(store, tmp_path)
    yield loop
    loop.stop.set()
    loop.executor.let_go.set()
    loop.wait_for_end()


def test_a_deaf_executor_that_lost_its_lease_ends_the_process(
    loop: Loop, store: OperationStore, clock: WallClock
) -> None:
    made = store.create("held", {})
    loop.start()
    loop.wait_for_begin()
    # The runner's own heartbeats and another's claim race as after a suspension; one of its beats
    # may come first, so the clock jumps until the claim is through.
    claim = None
    while claim is None:
        clock.advance(2 * LEASE)
        claim = store.claim("worker-b", LEASE)
    assert loop.wait_for_end() is False
    current = store.get(made.id)
    assert (current.state, current.attempt) == (OperationState.RUNNING, 2)
    store.succeed(claim, {"by": "b"})


def test_a_deaf_executor_is_released_at_stop(loop: Loop, store: OperationStore) -> None:
    made = store.create("held", {})
    loop.start()
    loop.wait_for_begin()
    loop.stop.set()
    assert loop.wait_for_end() is False
    assert store.get(made.id).state is OperationState.PENDING


def test_as_many_at_once_as_set(loop: Loop, store: OperationStore) -> None:
    made = [store.create("held", {}) for _ in range(3)]
    loop.start(concurrency=2)
    loop.wait_for_begin()
    loop.wait_for_begin()
    assert loop.executor.runs == 2
    states = [store.get(operation.id).state for operation in made]
    assert states == [OperationState.RUNNING, OperationState.RUNNING, OperationState.PENDING]
    loop.executor.let_go.set()
    loop.wait_for_begin()  # the third has its turn


def test_an_idle_runner_ends_well(loop: Loop) -> None:
    loop.start(idle_seconds=0)
    assert loop.wait_for_end() is True
