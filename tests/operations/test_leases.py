from __future__ import annotations

import threading
from pathlib import Path

import pytest

from operations.support import LEASE, WallClock, claimed, open_store
from stillroom_registry.database import Database
from stillroom_registry.errors import Internal
from stillroom_server.operations.model import (
    CancelRequested,
    LeaseLost,
    OperationError,
    OperationState,
    Progress,
)
from stillroom_server.operations.store import OperationStore

PROGRESS = Progress("train", 1, 3, 5, 10, "steps", "busy", 2.5, 2.0, 0.5)
ERROR = OperationError.from_error(Internal("boom"))


def test_claims_are_first_in_first_out(store: OperationStore) -> None:
    made = [store.create("distill", {}).id for _ in range(3)]
    assert [claimed(store, f"worker-{n}").operation_id for n in range(3)] == made
    assert store.claim("worker-z", LEASE) is None


def test_a_claim_starts_the_operation(store: OperationStore, clock: WallClock) -> None:
    made = store.create("distill", {"a": 1})
    clock.advance(2)
    claim = claimed(store)
    assert claim.attempt == 1
    assert claim.operation == store.get(made.id)
    assert claim.operation.state is OperationState.RUNNING
    assert claim.operation.start_time == clock.now


def test_heartbeats_keep_the_claim(store: OperationStore, clock: WallClock) -> None:
    store.create("distill", {})
    claim = claimed(store)
    for _ in range(5):
        clock.advance(LEASE - 1)
        assert store.heartbeat(claim) is False
        assert store.claim("worker-b", LEASE) is None
    clock.advance(LEASE)
    assert store.claimable()
    assert claimed(store, "worker-b").attempt == 2


def test_progress_is_a_change_and_a_mere_heartbeat_is_none(
    store: OperationStore, clock: WallClock
) -> None:
    store.create("distill", {})
    claim = claimed(store)
    clock.advance(1)
    store.heartbeat(claim)
    assert store.get(claim.operation_id) == claim.operation
    store.heartbeat(claim, PROGRESS)
    assert store.get(claim.operation_id).progress == PROGRESS
    assert store.get(claim.operation_id).update_time == clock.now


def test_a_stale_worker_can_do_nothing(store: OperationStore, clock: WallClock) -> None:
    store.create("distill", {})
    stale = claimed(store)
    clock.advance(LEASE)
    current = claimed(store, "worker-b")
    before = store.get(stale.operation_id)
    attempts = [
        lambda: store.heartbeat(stale, PROGRESS),
        lambda: store.cancel_requested(stale),
        lambda: store.succeed(stale, {"model": "stale"}),
        lambda: store.fail(stale, ERROR),
        lambda: store.cancel(stale),
        lambda: store.release(stale),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLost):
            attempt()
    assert store.get(stale.operation_id) == before
    store.succeed(current, {"model": "right"})
    assert store.get(stale.operation_id).result == {"model": "right"}


def test_the_same_worker_with_an_older_attempt_is_stale_too(store: OperationStore) -> None:
    store.create("distill", {})
    first = claimed(store)
    store.release(first)
    second = claimed(store)
    with pytest.raises(LeaseLost):
        store.succeed(first, {})
    store.succeed(second, {})


def test_a_lost_lease_rolls_the_publish_back(
    tmp_path: Path, store: OperationStore, clock: WallClock
) -> None:
    database = Database.open(tmp_path / "stillroom.db")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE effects (name TEXT)")
    store.create("distill", {})
    stale = claimed(store)
    clock.advance(LEASE)
    current = claimed(store, "worker-b")

    def publish(claim, name: str) -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO effects VALUES (?)", (name,))
            store.succeed(claim, {"name": name}, connection)

    with pytest.raises(LeaseLost):
        publish(stale, "stale")
    publish(current, "right")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT name FROM effects").scalars().all() == ["right"]
    assert store.get(stale.operation_id).result == {"name": "right"}


def test_a_publish_that_fails_leaves_the_operation_running(
    tmp_path: Path, store: OperationStore
) -> None:
    store.create("distill", {})
    claim = claimed(store)

    def publish() -> None:
        with Database.open(tmp_path / "stillroom.db").write() as connection:
            store.succeed(claim, {}, connection)
            raise RuntimeError("the publish failed after all")

    with pytest.raises(RuntimeError):
        publish()
    assert store.get(claim.operation_id).state is OperationState.RUNNING
    store.succeed(claim, {})


def test_ends_are_final(store: OperationStore, clock: WallClock) -> None:
    store.create("distill", {})
    claim = claimed(store)
    clock.advance(3)
    store.fail(claim, ERROR, progress=PROGRESS)
    ended = store.get(claim.operation_id)
    assert ended.state is OperationState.FAILED
    assert ended.error == ERROR
    assert ended.progress == PROGRESS
    assert ended.end_time == clock.now
    with pytest.raises(LeaseLost):
        store.succeed(claim, {})
    clock.advance(10 * LEASE)
    assert store.claim("worker-b", LEASE) is None


def test_cancel_of_a_running_operation(store: OperationStore) -> None:
    made = store.create("distill", {})
    claim = claimed(store)
    asked = store.request_cancel(made.id)
    assert (asked.state, asked.cancel_requested) == (OperationState.RUNNING, True)
    assert store.heartbeat(claim) is True
    with pytest.raises(CancelRequested):
        store.succeed(claim, {})
    assert store.get(made.id).state is OperationState.RUNNING
    store.cancel(claim)
    assert store.get(made.id).state is OperationState.CANCELLED


def test_release_costs_no_attempt_and_keeps_the_place(store: OperationStore) -> None:
    first, second = (store.create("distill", {}).id for _ in range(2))
    for attempt in range(1, 8):
        claim = claimed(store)
        assert (claim.operation_id, claim.attempt) == (first, attempt)
        store.release(claim, progress=PROGRESS)
    waiting = store.get(first)
    assert (waiting.state, waiting.lost_attempts) == (OperationState.PENDING, 0)
    assert waiting.progress == PROGRESS
    store.succeed(claimed(store), {})
    assert claimed(store).operation_id == second


def test_release_of_a_cancelled_operation_ends_it(store: OperationStore) -> None:
    made = store.create("distill", {})
    claim = claimed(store)
    store.request_cancel(made.id)
    store.release(claim)
    assert store.get(made.id).state is OperationState.CANCELLED


def test_three_lost_attempts_fail_the_operation(store: OperationStore, clock: WallClock) -> None:
    made = store.create("distill", {})
    for _ in range(3):
        claimed(store, f"worker-{clock.now}")
        clock.advance(LEASE)
    assert store.claim("worker-z", LEASE) is None
    failed = store.get(made.id)
    assert failed.state is OperationState.FAILED
    assert failed.error is not None
    assert failed.error.reason == "ATTEMPTS_EXHAUSTED"
    assert (failed.attempt, failed.lost_attempts) == (3, 3)


def test_a_dead_process_gives_up_its_claims_at_once(tmp_path: Path, clock: WallClock) -> None:
    dead: set[str] = set()
    store = open_store(tmp_path, clock, gone=dead.__contains__)
    store.create("distill", {})
    claimed(store, "worker-a")
    assert not store.claimable()
    dead.add("worker-a")
    assert store.claimable()
    assert claimed(store, "worker-b").attempt == 2


def test_reap_ends_what_nobody_will_run(tmp_path: Path, clock: WallClock) -> None:
    dead: set[str] = set()
    store = open_store(tmp_path, clock, gone=dead.__contains__)
    ids = [store.create("distill", {}).id for _ in range(2)]
    claimed(store), claimed(store, "worker-b")
    store.request_cancel(ids[0])
    assert store.reap() == 0
    dead.update(("worker-a", "worker-b"))
    assert store.reap() == 2
    assert store.get(ids[0]).state is OperationState.CANCELLED
    assert store.get(ids[1]).state is OperationState.PENDING
    assert store.get(ids[1]).lost_attempts == 1


def test_a_worker_does_not_take_its_own_work_away(store: OperationStore, clock: WallClock) -> None:
    made = store.create("distill", {})
    claim = claimed(store)
    clock.advance(10 * LEASE)  # a laptop that slept
    assert store.claim("worker-a", LEASE, held={made.id}) is None
    store.heartbeat(claim)
    assert store.claim("worker-a", LEASE, held=()) is not None  # an end it could not write


def test_many_workers_never_share_an_operation(tmp_path: Path, clock: WallClock) -> None:
    store = open_store(tmp_path, clock)
    made = {store.create("distill", {}).id for _ in range(24)}
    got: list[str] = []

    def work(name: str) -> None:
        own = OperationStore(Database.open(tmp_path / "stillroom.db"), clock)
        while (claim := own.claim(name, LEASE, held=made)) is not None:
            got.append(claim.operation_id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(made)
