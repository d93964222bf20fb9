from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from operations.support import LEASE, Monotonic, WallClock, claimed
from stillroom_registry.database import Database
from stillroom_registry.errors import (
    Cancelled,
    DataLoss,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from stillroom_server.operations.attempt import Attempt, Outcome
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.model import Json, OperationState
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.workspaces import Workspaces


class Bench:
    """Attempts at one operation with whatever an executor might do."""

    def __init__(self, store: OperationStore, folder: Path, monotonic: Monotonic) -> None:
        self.store = store
        self.folder = folder
        self.monotonic = monotonic
        self.database = Database.open(folder / "stillroom.db")
        self.id = store.create("test", {"a": 1}).id
        self.control = AttemptControl(claimed(store))

    def run(self, work: Callable[[Json, OperationContext], Json]) -> Outcome:
        class Work:
            kind = "test"
            phases = ("work",)

            def run(self, request: Json, context: OperationContext) -> Json:
                return work(request, context)

        attempt = Attempt(
            self.control,
            Work(),
            self.store,
            Workspaces(self.folder),
            # Beats are tested elsewhere; here none comes in between.
            OperationsSettings(tick_seconds=3600),
            clock=self.monotonic,
            pause=self.monotonic.advance,
        )
        return attempt.run()

    @property
    def state(self) -> OperationState:
        return self.store.get(self.id).state

    @property
    def workspace_left(self) -> bool:
        return (self.folder / "operations" / self.id).exists()


@pytest.fixture
def bench(store: OperationStore, tmp_path: Path, monotonic: Monotonic) -> Bench:
    return Bench(store, tmp_path, monotonic)


def test_a_result_is_a_success_with_the_last_progress(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        assert context.operation_id == bench.id
        assert context.attempt == 1
        assert context.workspace.is_dir()
        context.progress("work", 9, 9, unit="things")
        return {"got": request["a"]}

    assert bench.run(work) is Outcome.SUCCEEDED
    done = bench.store.get(bench.id)
    assert done.result == {"got": 1}
    assert done.progress is not None
    assert done.progress.fraction == 1.0
    assert not bench.workspace_left


def test_an_error_after_the_success_does_not_undo_it(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        with bench.database.write() as connection:
            context.succeed(connection, {"published": True})
        raise RuntimeError("while tidying up")

    assert bench.run(work) is Outcome.SUCCEEDED
    assert bench.store.get(bench.id).result == {"published": True}


def test_a_success_that_was_rolled_back_is_a_failure(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        try:
            with bench.database.write() as connection:
                context.succeed(connection, {"published": True})
                raise DataLoss("the blob is damaged")
        except DataLoss:
            return {}  # swallowed, which it should not have done

    assert bench.run(work) is Outcome.FAILED
    error = bench.store.get(bench.id).error
    assert error is not None
    assert error.reason == "RESULT_LOST"


def test_cancel_in_the_last_moment_beats_the_publish(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        bench.store.request_cancel(bench.id)
        with bench.database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE effect (id TEXT)")
            context.succeed(connection, {})
        return {}

    assert bench.run(work) is Outcome.CANCELLED
    assert bench.state is OperationState.CANCELLED
    with bench.database.read() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    assert "effect" not in tables
    assert not bench.workspace_left


def test_cancel_beats_a_plain_result_too(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        bench.store.request_cancel(bench.id)
        return {"too": "late"}

    assert bench.run(work) is Outcome.CANCELLED
    assert bench.store.get(bench.id).result is None


def test_stop_releases_and_keeps_the_workspace(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        bench.control.ask_stop()
        context.check_cancelled()
        raise AssertionError("check_cancelled did not raise")

    assert bench.run(work) is Outcome.RELEASED
    assert bench.state is OperationState.PENDING
    assert bench.workspace_left


def test_cancelled_without_anybody_asking_is_a_failure(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        raise Cancelled("a subprocess of mine was stopped")

    assert bench.run(work) is Outcome.FAILED
    assert bench.state is OperationState.FAILED


def test_a_lost_lease_commits_nothing(bench: Bench, clock: WallClock) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        clock.advance(LEASE)
        claimed(bench.store, "worker-b")
        with bench.database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE effect (id TEXT)")
            context.guard(connection)
        raise AssertionError("guard did not raise")

    assert bench.run(work) is Outcome.LOST
    current = bench.store.get(bench.id)
    assert (current.state, current.attempt) == (OperationState.RUNNING, 2)
    assert bench.workspace_left  # it is the other attempt's now
    with bench.database.read() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    assert "effect" not in tables


def test_a_room_of_its_own_error_keeps_class_reason_and_field(bench: Bench) -> None:
    class NoFastTokenizer(InvalidArgument):
        default_reason = "NO_FAST_TOKENIZER"

    def work(request: Json, context: OperationContext) -> Json:
        raise NoFastTokenizer("slow", field="teacher", metadata={"model": "m"})

    assert bench.run(work) is Outcome.FAILED
    stored = bench.store.get(bench.id).error
    assert stored is not None
    error = stored.to_error()
    assert type(error) is InvalidArgument
    assert (error.reason, error.field, error.metadata) == (
        "NO_FAST_TOKENIZER",
        "teacher",
        {"model": "m"},
    )


def test_a_full_disk_is_waited_out_to_write_the_end(bench: Bench) -> None:
    fail = bench.store.fail
    refusals = [ResourceExhausted("full", reason="DISK_FULL"), Unavailable("busy")]

    def refusing(*arguments: object, **options: object) -> None:
        if refusals:
            raise refusals.pop()
        fail(*arguments, **options)  # type: ignore[arg-type]

    bench.store.fail = refusing  # type: ignore[method-assign]

    def work(request: Json, context: OperationContext) -> Json:
        raise OSError(28, "No space left on device")

    assert bench.run(work) is Outcome.FAILED
    error = bench.store.get(bench.id).error
    assert error is not None
    assert (error.code, error.reason) == ("ResourceExhausted", "DISK_FULL")


def test_an_end_that_cannot_be_written_leaves_the_operation_to_another(
    bench: Bench, clock: WallClock
) -> None:
    begun = bench.monotonic.now

    def full(*_: object, **__: object) -> None:
        raise ResourceExhausted("full", reason="DISK_FULL")

    succeed = bench.store.succeed
    bench.store.succeed = full  # type: ignore[method-assign]
    assert bench.run(lambda *_: {}) is Outcome.LOST
    assert LEASE <= bench.monotonic.now - begun < LEASE + 3
    clock.advance(LEASE)
    bench.store.succeed = succeed  # type: ignore[method-assign]
    bench.store.succeed(claimed(bench.store, "worker-b"), {})


def test_a_workspace_on_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    assert bench.run(lambda *_: {}) is Outcome.FAILED
    error = bench.store.get(bench.id).error
    assert error is not None
    assert error.reason == "DISK_FULL"


def test_an_operation_deleted_right_after_its_success(bench: Bench) -> None:
    def work(request: Json, context: OperationContext) -> Json:
        with bench.database.write() as connection:
            context.succeed(connection, {})
        bench.store.delete(bench.id)
        return {}

    assert bench.run(work) is Outcome.SUCCEEDED
    with pytest.raises(NotFound):
        bench.store.get(bench.id)
