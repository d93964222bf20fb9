"""Operations with the ledger as their observer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cost.ledger.support import FakeCounters, estimate_of
from operations.support import LEASE, Monotonic, WallClock, claimed

from stillroom_registry.database import Database
from stillroom_registry.errors import NotFound, ResourceExhausted
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.ledger.accuracy import accuracy
from stillroom_server.cost.ledger.ledger import Ledger
from stillroom_server.cost.ledger.meter import Meter
from stillroom_server.cost.ledger.observing import LedgerObserver
from stillroom_server.cost.ledger.schema import expectations
from stillroom_server.operations.attempt import Attempt, Outcome
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.model import Json, OperationState
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.workspaces import Workspaces

Do = Callable[[Json, OperationContext], Json]


class Bench:
    """A store whose operations are measured by clocks and counters that the test moves."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.ledger = Ledger(database)
        self.folder = folder
        self.wall = WallClock()
        self.clock = Monotonic()
        self.counters = FakeCounters()
        self.cache = folder / "cache"
        self.cache.mkdir()
        self.observer = LedgerObserver(
            self.ledger, [self.cache], make_meter=self._meter, note_seconds=3.0, clock=self.clock
        )
        self.store = OperationStore(database, self.wall, observer=self.observer)
        self.front = OperationStore(
            database, self.wall, observer=LedgerObserver(self.ledger), worker_is_gone=lambda _: True
        )

    def _meter(self, disk: Callable[[], int]) -> Meter:
        return Meter(disk, counters=self.counters, clock=self.clock)

    def create(self, **figures: float) -> str:
        estimate = estimate_of(**figures)
        operation = self.front.create(
            "distill",
            {},
            in_transaction=lambda connection, made: self.ledger.expect(
                connection, made.id, made.kind, estimate
            ),
        )
        return operation.id

    def attempt(self, do: Do, worker: str = "worker-a") -> Outcome:
        class Work:
            kind = "distill"
            phases = ("load", "train", "publish")

            def run(self, request: Json, context: OperationContext) -> Json:
                return do(request, context)

        control = AttemptControl(claimed(self.store, worker))
        attempt = Attempt(
            control,
            Work(),
            self.store,
            Workspaces(self.folder),
            OperationsSettings(tick_seconds=3600),
            clock=self.clock,
            pause=self.clock.advance,
        )
        return attempt.run()

    def work(self, wall: float, cpu: float) -> None:
        self.clock.advance(wall)
        self.wall.advance(wall)
        self.counters.cpu += cpu

    def entry(self, operation: str) -> dict[str, Any]:
        (entry,) = accuracy(self.ledger, operation=f"operations/{operation}", page_size=1)[
            "entries"
        ]
        assert isinstance(entry, dict)
        return entry

    def expected(self) -> int:
        with self.ledger.database.read() as connection:
            return len(connection.execute(expectations.select()).all())


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, tmp_path)


def value(figures: dict[str, Any], name: str) -> float | None:
    return Figure.from_json(figures[name]).p50


def test_a_success_is_measured_phase_by_phase(bench: Bench) -> None:
    id_ = bench.create(wall_seconds=5.0, cpu_seconds=5.0)

    def do(request: Json, context: OperationContext) -> Json:
        bench.work(1.0, 0.5)
        context.progress("load", 0, 1, unit="teacher")
        context.moved(77)
        bench.work(2.0, 1.5)
        (context.workspace / "features").write_bytes(b"x" * 100)
        (bench.cache / "shard").write_bytes(b"x" * 30)
        context.progress("train", 1, 2, unit="steps")
        context.progress("train", 2, 2, unit="steps")
        bench.work(3.0, 6.0)
        return {}

    assert bench.attempt(do) is Outcome.SUCCEEDED
    entry = bench.entry(id_)
    assert entry["succeeded"]
    assert value(entry["measured"], "wall_seconds") == pytest.approx(6.0)
    assert value(entry["measured"], "cpu_seconds") == pytest.approx(8.0)
    assert value(entry["measured"], "disk_bytes") == 130
    assert value(entry["measured"], "network_bytes") == 77
    assert [phase["phase"] for phase in entry["measured_phases"]] == ["load", "train"]
    assert value(entry["measured_phases"][0]["resources"], "wall_seconds") == pytest.approx(3.0)
    said = accuracy(bench.ledger, kind="distill")["accuracies"]
    assert [each["figure"] for each in said] == ["cpu_seconds", "wall_seconds"]
    assert bench.expected() == 0


def test_a_released_and_resumed_operation_is_the_sum(bench: Bench) -> None:
    id_ = bench.create(wall_seconds=5.0)

    def interrupted(request: Json, context: OperationContext) -> Json:
        context.progress("load", 0, 1, unit="teacher")
        bench.work(10.0, 1.0)
        context._control.ask_stop()
        context.check_cancelled()
        raise AssertionError

    def whole(request: Json, context: OperationContext) -> Json:
        context.progress("train", 0, 1, unit="steps")
        bench.work(5.0, 1.0)
        return {}

    assert bench.attempt(interrupted) is Outcome.RELEASED
    with pytest.raises(NotFound):  # it still runs
        bench.entry(id_)
    bench.wall.advance(1000.0)  # waiting in the queue is nobody's work
    assert bench.attempt(whole) is Outcome.SUCCEEDED
    entry = bench.entry(id_)
    assert entry["attempts"] == 2
    assert value(entry["measured"], "wall_seconds") == pytest.approx(15.0)
    assert [phase["phase"] for phase in entry["measured_phases"]] == ["load", "train"]


def test_what_a_heartbeat_wrote_survives_the_runner(bench: Bench) -> None:
    id_ = bench.create(wall_seconds=5.0)
    claim = claimed(bench.store)
    meter = bench.observer.begin(id_, claim.attempt, bench.folder)
    meter.phase("load")
    bench.work(4.0, 3.0)
    bench.store.heartbeat(claim)
    bench.work(2.0, 1.0)
    bench.store.heartbeat(claim)  # too soon to write all of it again
    bench.work(2.0, 1.0)
    bench.store.heartbeat(claim)
    bench.work(2.0, 1.0)  # and then it was killed
    meter.end()
    assert bench.front.reap() == 1

    def rest(request: Json, context: OperationContext) -> Json:
        context.progress("load", 0, 1, unit="teacher")
        bench.work(1.0, 1.0)
        return {}

    assert bench.attempt(rest, "worker-b") is Outcome.SUCCEEDED
    entry = bench.entry(id_)
    assert entry["attempts"] == 2
    assert value(entry["measured"], "wall_seconds") == pytest.approx(9.0)


def test_a_suspended_attempt_adds_nothing_to_its_successor(bench: Bench) -> None:
    id_ = bench.create(wall_seconds=5.0)

    def suspended(request: Json, context: OperationContext) -> Json:
        bench.work(LEASE + 1, 1.0)
        assert bench.attempt(successor, "worker-b") is Outcome.SUCCEEDED
        bench.work(100.0, 100.0)
        return {}

    def successor(request: Json, context: OperationContext) -> Json:
        bench.work(2.0, 1.0)
        return {}

    assert bench.attempt(suspended) is Outcome.LOST
    assert value(bench.entry(id_)["measured"], "wall_seconds") == pytest.approx(2.0)


def test_every_way_to_end_closes_the_entry(bench: Bench) -> None:
    def fail(request: Json, context: OperationContext) -> Json:
        raise ResourceExhausted("full")

    def cancelled(request: Json, context: OperationContext) -> Json:
        bench.front.request_cancel(context.operation_id)
        context.confirm()
        raise AssertionError

    failed = bench.create(wall_seconds=5.0)
    assert bench.attempt(fail) is Outcome.FAILED
    stopped = bench.create(wall_seconds=5.0)
    assert bench.attempt(cancelled) is Outcome.CANCELLED
    died = bench.create(wall_seconds=5.0)
    for _ in range(3):
        claimed(bench.store)
        assert bench.front.reap() == 1
    assert bench.store.get(died).state is OperationState.FAILED
    for operation, attempts in ((failed, 1), (stopped, 1), (died, 3)):
        entry = bench.entry(operation)
        assert (entry["succeeded"], entry["attempts"]) == (False, attempts)
    waiting = bench.create(wall_seconds=5.0)
    bench.front.request_cancel(waiting)
    with pytest.raises(NotFound):
        bench.entry(waiting)
    assert bench.expected() == 0
    assert accuracy(bench.ledger)["accuracies"] == []


def test_a_cancel_before_the_next_attempt_keeps_what_was_taken(bench: Bench) -> None:
    id_ = bench.create(wall_seconds=5.0)

    def interrupted(request: Json, context: OperationContext) -> Json:
        bench.work(10.0, 1.0)
        context._control.ask_stop()
        context.check_cancelled()
        raise AssertionError

    assert bench.attempt(interrupted) is Outcome.RELEASED
    bench.front.request_cancel(id_)
    entry = bench.entry(id_)
    assert value(entry["measured"], "wall_seconds") == pytest.approx(10.0)
    assert not entry["succeeded"]


def test_an_operation_may_be_deleted_its_entry_stays(bench: Bench) -> None:
    id_ = bench.create(wall_seconds=5.0)
    assert bench.attempt(lambda *_: {}) is Outcome.SUCCEEDED
    bench.store.delete(id_)
    assert bench.entry(id_)["operation"] == f"operations/{id_}"


def test_a_published_version_counts_as_disk(bench: Bench, tmp_path: Path) -> None:
    id_ = bench.create(disk_bytes=5.0)
    registry = Registry.open(tmp_path, database=bench.ledger.database)

    def do(request: Json, context: OperationContext) -> Json:
        student = context.workspace / "student"
        student.mkdir()
        (student / "model.safetensors").write_bytes(b"x" * 1000)
        context.progress("publish", 0, 1, unit="student")
        result: dict[str, Any] = {}

        def succeed(connection: Any, version: Any) -> None:
            result["model_version"] = version.name
            context.succeed(connection, result)

        registry.publish("mini", ModelKind.STUDENT, student, in_transaction=succeed)
        return {}

    assert bench.attempt(do) is Outcome.SUCCEEDED
    assert value(bench.entry(id_)["measured"], "disk_bytes") == 2000


def test_a_ledger_that_fails_prevents_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("this ledger is broken")

    def do(request: Json, context: OperationContext) -> Json:
        context.progress("load", 0, 1, unit="teacher")
        return {}

    bench.create(wall_seconds=5.0)
    monkeypatch.setattr(bench.ledger, "close", broken)
    assert bench.attempt(do) is Outcome.SUCCEEDED
    bench.create(wall_seconds=5.0)
    monkeypatch.setattr(bench.ledger, "note", broken)
    assert bench.attempt(do) is Outcome.SUCCEEDED
    bench.create(wall_seconds=5.0)
    monkeypatch.setattr(bench.counters, "cpu_seconds", broken)
    assert bench.attempt(do) is Outcome.SUCCEEDED
    assert caplog.text.count("this ledger is broken") >= 3


def test_what_a_failing_ledger_began_is_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = bench.create(wall_seconds=5.0)

    def half(connection: Any, *_: object, **__: object) -> None:
        connection.execute(expectations.delete())
        raise RuntimeError("in the middle")

    monkeypatch.setattr(bench.ledger, "close", half)
    assert bench.attempt(lambda *_: {}) is Outcome.SUCCEEDED
    assert bench.store.get(id_).state is OperationState.SUCCEEDED
    assert bench.expected() == 1


def test_a_refused_hook_undoes_the_operation(bench: Bench) -> None:
    def refuse(*_: object) -> None:
        raise ResourceExhausted("no")

    with pytest.raises(ResourceExhausted):
        bench.front.create("distill", {}, request_id="once", in_transaction=refuse)
    assert bench.front.list().items == ()
    seen: list[str] = []
    for _ in range(2):
        bench.front.create(
            "distill", {}, request_id="once", in_transaction=lambda _, made: seen.append(made.id)
        )
    assert len(seen) == 1  # the second call made nothing
