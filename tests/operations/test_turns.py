"""Long operations give way to those that wait, and get their own turn again."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations.support import LEASE, Monotonic, claimed
from stillroom_server.operations.attempt import Attempt, Outcome
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.model import Json, OperationState
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.workspaces import Workspaces

SLICE = 100.0


class Long:
    """A step, a checkpoint, a step, a checkpoint... of ``seconds`` each."""

    kind = "long"
    phases = ("work",)

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic

    def run(self, request: Json, context: OperationContext) -> Json:
        checkpoint = context.workspace / "checkpoint"
        for step in range(int(checkpoint.read_text()) if checkpoint.exists() else 0, 10):
            self._monotonic.advance(request["seconds"])
            checkpoint.write_text(str(step + 1))
            context.give_way()
        return {}


def run_next(store: OperationStore, folder: Path, monotonic: Monotonic) -> tuple[str, Outcome]:
    claim = claimed(store)
    settings = OperationsSettings(tick_seconds=3600, slice_seconds=SLICE)
    attempt = Attempt(
        AttemptControl(claim),
        Long(monotonic),
        store,
        Workspaces(folder),
        settings,
        clock=monotonic,
    )
    return claim.operation_id, attempt.run()


def test_a_short_one_waits_for_a_slice_only(
    store: OperationStore, tmp_path: Path, monotonic: Monotonic
) -> None:
    long = store.create("long", {"seconds": 40}).id
    short = store.create("long", {"seconds": 1}).id
    assert run_next(store, tmp_path, monotonic) == (long, Outcome.RELEASED)
    assert store.get(long).state is OperationState.PENDING
    assert (tmp_path / "operations" / long / "checkpoint").read_text() == "3"
    assert run_next(store, tmp_path, monotonic) == (short, Outcome.SUCCEEDED)
    # Nobody else waits now, so it goes on to its end.
    assert run_next(store, tmp_path, monotonic) == (long, Outcome.SUCCEEDED)


def test_two_long_ones_take_turns_and_newcomers_queue_behind(
    store: OperationStore, tmp_path: Path, monotonic: Monotonic
) -> None:
    first = store.create("long", {"seconds": 40}).id
    second = store.create("long", {"seconds": 40}).id
    order = [run_next(store, tmp_path, monotonic)[0]]
    third = store.create("long", {"seconds": 40}).id
    order += [run_next(store, tmp_path, monotonic)[0] for _ in range(5)]
    assert order == [first, second, first, third, second, first]


def test_giving_way_does_not_count_as_a_loss(
    store: OperationStore, tmp_path: Path, monotonic: Monotonic
) -> None:
    long = store.create("long", {"seconds": 40}).id
    for _ in range(6):
        store.create("long", {"seconds": 40})
    for _ in range(28):
        run_next(store, tmp_path, monotonic)
    operation = store.get(long)
    assert operation.state is OperationState.SUCCEEDED
    assert operation.attempt == 4


def test_a_cancelled_one_does_not_come_back(
    store: OperationStore, tmp_path: Path, monotonic: Monotonic
) -> None:
    store.create("long", {"seconds": 40})
    waiting = store.create("long", {"seconds": 40})
    claim = claimed(store)
    store.request_cancel(claim.operation_id)
    store.release(claim, behind=True)
    assert store.get(claim.operation_id).state is OperationState.CANCELLED
    assert store.claim("w", LEASE).operation.id == waiting.id  # type: ignore[union-attr]


@pytest.mark.parametrize("waiting", [False, True])
def test_alone_nobody_gives_way(
    waiting: bool, store: OperationStore, tmp_path: Path, monotonic: Monotonic
) -> None:
    store.create("long", {"seconds": 40 if waiting else 400})
    if waiting:
        store.create("long", {"seconds": 1})
    outcome = run_next(store, tmp_path, monotonic)[1]
    assert outcome is (Outcome.RELEASED if waiting else Outcome.SUCCEEDED)
