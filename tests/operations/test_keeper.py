from __future__ import annotations

import pytest

from operations.support import LEASE, Monotonic, WallClock, claimed
from stillroom_registry.errors import Unavailable
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.keeper import Keeper
from stillroom_server.operations.model import (
    CancelRequested,
    Claim,
    LeaseLost,
    OperationState,
    Progress,
    RunnerStopping,
)
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore


class Kept:
    """A claim with its keeper, whose beats the test makes itself."""

    def __init__(self, store: OperationStore, monotonic: Monotonic, tmp_path) -> None:
        store.create("distill", {})
        self.store = store
        self.monotonic = monotonic
        self.control = AttemptControl(claimed(store))
        self.id = self.control.claim.operation_id
        settings = OperationsSettings(lease_seconds=LEASE)
        self.keeper = Keeper(store, self.control, settings, clock=monotonic)
        self.context = OperationContext(store, self.control, tmp_path, ("train",), clock=monotonic)
        self.writes: list[Progress | None] = []
        heartbeat = store.heartbeat

        def counted(claim: Claim, progress: Progress | None = None) -> bool:
            self.writes.append(progress)
            return heartbeat(claim, progress)

        store.heartbeat = counted  # type: ignore[method-assign]


@pytest.fixture
def kept(store: OperationStore, monotonic: Monotonic, tmp_path) -> Kept:
    return Kept(store, monotonic, tmp_path)


def test_the_newest_progress_is_written_once(kept: Kept) -> None:
    for done in range(100):
        kept.context.progress("train", done, 100, unit="steps")
    kept.keeper.beat()
    kept.keeper.beat()
    assert [progress.done for progress in kept.writes if progress] == [99]
    progress = kept.store.get(kept.id).progress
    assert progress is not None
    assert progress.done == 99


def test_a_busy_executor_costs_a_write_a_second(kept: Kept) -> None:
    for done in range(101):
        kept.context.progress("train", done, 100, unit="steps")
        kept.keeper.beat()
        kept.monotonic.advance(0.125)
    assert [progress.done for progress in kept.writes if progress] == list(range(0, 101, 8))


def test_a_quiet_executor_costs_a_write_every_three_seconds(kept: Kept) -> None:
    for _ in range(100):
        kept.monotonic.advance(0.2)
        kept.keeper.beat()
    assert kept.writes == [None] * 6


def test_cancel_is_seen_at_the_next_beat_without_a_write(kept: Kept) -> None:
    kept.keeper.beat()
    kept.context.check_cancelled()
    kept.store.request_cancel(kept.id)
    kept.monotonic.advance(0.2)
    kept.keeper.beat()
    assert kept.writes == []
    assert kept.control.cancel_time == kept.monotonic.now
    with pytest.raises(CancelRequested):
        kept.context.check_cancelled()


def test_a_lost_lease_is_told(kept: Kept, clock: WallClock) -> None:
    clock.advance(LEASE)
    claimed(kept.store, "worker-b")
    kept.keeper.beat()
    with pytest.raises(LeaseLost):
        kept.context.check_cancelled()


def test_an_own_end_is_no_lost_lease(kept: Kept) -> None:
    kept.control.begin_end()
    kept.store.succeed(kept.control.claim, {})
    kept.keeper.beat()
    assert not kept.control.lost


def test_a_database_in_trouble_is_waited_for_as_long_as_the_lease(kept: Kept) -> None:
    def busy(claim: Claim, progress: Progress | None = None) -> bool:
        raise Unavailable("busy")

    works = kept.store.heartbeat
    kept.store.heartbeat = busy  # type: ignore[method-assign]
    kept.context.progress("train", 7, 10, unit="steps")
    kept.monotonic.advance(LEASE - 0.1)
    kept.keeper.beat()
    assert not kept.control.lost
    kept.store.heartbeat = works  # type: ignore[method-assign]
    kept.keeper.beat()
    assert [progress.done for progress in kept.writes if progress] == [7]
    kept.store.heartbeat = busy  # type: ignore[method-assign]
    kept.monotonic.advance(LEASE)
    kept.keeper.beat()
    assert kept.control.lost


def test_stop_is_neither_cancel_nor_loss(kept: Kept) -> None:
    kept.control.ask_stop()
    with pytest.raises(RunnerStopping):
        kept.context.check_cancelled()
    assert (kept.control.cancel_time, kept.control.lost) == (None, False)


def test_the_grace_time_begins_with_the_first_request(kept: Kept) -> None:
    kept.control.ask_cancel(1.0)
    kept.control.ask_cancel(2.0)
    assert kept.control.cancel_time == 1.0


def test_confirm_asks_the_database_itself(kept: Kept, clock: WallClock) -> None:
    kept.context.confirm()
    kept.store.request_cancel(kept.id)
    with pytest.raises(CancelRequested):
        kept.context.confirm()
    clock.advance(LEASE)
    assert kept.store.reap() == 1
    with pytest.raises(LeaseLost):
        kept.context.confirm()
    assert kept.store.get(kept.id).state is OperationState.CANCELLED
