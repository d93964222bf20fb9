from __future__ import annotations

import math
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cost.ledger.support import START, estimate_of, measured_of, work_of

from stillroom_registry.database import Database
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.ledger.accuracy import accuracy
from stillroom_server.cost.ledger.ledger import Ledger
from stillroom_server.cost.ledger.schema import entries, expectations, metadata, scores
from stillroom_server.cost.ledger.tally import Taken, Tally
from stillroom_server.operations.observer import Ended


def ended(
    operation: str = "op-1", *, succeeded: bool = True, attempts: int = 1, **more: Any
) -> Ended:
    times = {"start_time": START, "end_time": START}
    return Ended(operation, "distill", succeeded, attempts, **{**times, **more})


def expect(ledger: Ledger, estimate: Any, operation: str = "op-1") -> None:
    with ledger.database.write() as connection:
        ledger.expect(connection, operation, "distill", estimate)


def note(ledger: Ledger, attempt: int, tally: Tally, operation: str = "op-1") -> None:
    with ledger.database.write() as connection:
        ledger.note(connection, operation, attempt, tally)


def close(ledger: Ledger, end: Ended, result_bytes: int = 0) -> None:
    with ledger.database.write() as connection:
        ledger.close(connection, end, result_bytes=result_bytes)


def only_entry(ledger: Ledger) -> dict[str, Any]:
    (entry,) = accuracy(ledger, page_size=10)["entries"]
    assert isinstance(entry, dict)
    return entry


def value(figures: dict[str, Any], name: str) -> float | None:
    return Figure.from_json(figures[name]).p50


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_the_migrations_make_the_schema(database: Database) -> None:
    def ours(_object: Any, name: str | None, kind: str, *_: Any) -> bool:
        return kind != "table" or str(name) in metadata.tables

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        assert compare_metadata(context, metadata) == []


def test_what_was_said_and_what_it_took(ledger: Ledger) -> None:
    said = estimate_of(wall_seconds=10.0, cpu_seconds=12.0, disk_bytes=100.0)
    expect(ledger, said)
    tally = Tally(
        phases={"load": Taken(1, 2, 900, 50), "publish": Taken(4, 3, 700, 60)}, waited=0.0
    )
    note(ledger, 1, tally)
    close(ledger, ended(), result_bytes=25)
    entry = only_entry(ledger)
    assert entry["estimate"] == said
    assert entry["operation"] == "operations/op-1"
    assert entry["succeeded"] is True
    assert entry["attempts"] == 1
    assert entry["contention"] == 1.0
    assert entry["start_time"] == "2026-01-02T03:04:05.678901Z"
    measured = entry["measured"]
    assert value(measured, "wall_seconds") == 5
    assert value(measured, "cpu_seconds") == 5
    assert value(measured, "peak_memory_bytes") == 900
    assert value(measured, "disk_bytes") == 85  # the result beside the workspace it came from
    assert measured["network_bytes"]["basis"] == Basis.UNKNOWN
    phases = {phase["phase"]: phase["resources"] for phase in entry["measured_phases"]}
    assert list(phases) == ["load", "publish"]
    assert value(phases["load"], "peak_memory_bytes") == 900
    assert count(ledger.database, expectations) == 0
    assert count(ledger.database, scores) == 3


def test_attempts_are_summed_each_counted_once(ledger: Ledger) -> None:
    expect(ledger, estimate_of(wall_seconds=10.0))
    for seconds in (1.0, 2.0, 3.0):  # heartbeats of the first attempt, which is then killed
        note(ledger, 1, Tally(phases={"load": Taken(seconds, seconds)}))
    note(ledger, 3, Tally(phases={"load": Taken(10.0, 9.0)}))
    note(ledger, 3, Tally(phases={"load": Taken(10.0, 9.0), "train": Taken(100.0, 99.0)}))
    note(ledger, 4, Tally(phases={"train": Taken(1000.0, 999.0)}))
    close(ledger, ended(attempts=4))
    entry = only_entry(ledger)
    assert entry["attempts"] == 4
    assert value(entry["measured"], "wall_seconds") == 1113
    assert entry["measured"]["wall_seconds"]["note"].startswith("1 of 4 attempts")
    phases = {phase["phase"]: phase["resources"] for phase in entry["measured_phases"]}
    assert value(phases["load"], "wall_seconds") == 13
    assert value(phases["train"], "wall_seconds") == 1100


def test_failed_work_is_kept_and_teaches_nothing(ledger: Ledger) -> None:
    expect(ledger, estimate_of(wall_seconds=10.0))
    note(ledger, 1, Tally(phases={"load": Taken(1.0, 1.0)}))
    close(ledger, ended(succeeded=False))
    assert only_entry(ledger)["succeeded"] is False
    assert count(ledger.database, scores) == 0
    assert accuracy(ledger)["accuracies"] == []


def test_work_that_never_ran_leaves_nothing(ledger: Ledger) -> None:
    expect(ledger, estimate_of(wall_seconds=10.0))
    close(ledger, ended(succeeded=False, attempts=0, start_time=None))
    assert count(ledger.database, expectations) == count(ledger.database, entries) == 0


def test_work_without_an_estimate_is_measured_all_the_same(ledger: Ledger) -> None:
    note(ledger, 1, Tally(phases={"count": Taken(2.0, 1.0)}))
    close(ledger, ended())
    entry = only_entry(ledger)
    assert "estimate" not in entry
    assert value(entry["measured"], "wall_seconds") == 2
    close(ledger, ended("op-2"))  # of which nothing at all was seen
    second = accuracy(ledger, operation="operations/op-2", page_size=1)["entries"][0]
    assert {figure["basis"] for figure in second["measured"].values()} == {Basis.UNKNOWN}
    assert count(ledger.database, scores) == 0


@pytest.mark.parametrize(
    "estimate",
    [
        {"physical": {"total": {"wall_seconds": {"basis": "COST_BASIS_SPEC", "p50": 1.0}}}},
        {"physical": {"total": {"wall_seconds": {"basis": "A_GUESS"}}}},
        {"physical": "much"},
        {"title": math.nan},
        {"title": {1, 2}},
    ],
)
def test_a_bad_estimate_is_left_out(
    ledger: Ledger, estimate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expect(ledger, estimate)
    assert "op-1" in caplog.text
    close(ledger, ended())
    assert "estimate" not in only_entry(ledger)


def test_unknown_and_zero_figures_are_not_compared(ledger: Ledger) -> None:
    said = estimate_of(
        wall_seconds=Figure.unknown("no rate"),
        cpu_seconds=0.0,
        disk_bytes=10.0,
        peak_memory_bytes=10.0,
    )
    expect(ledger, said)
    note(ledger, 1, Tally(phases={"load": Taken(1.0, 1.0, None, 0)}))
    close(ledger, ended())
    assert count(ledger.database, scores) == 0


def test_the_oldest_of_a_kind_make_room(database: Database) -> None:
    ledger = Ledger(database, max_entries=3)
    ledger.record(work_of(kind="push"))
    for took in range(1, 6):
        ledger.record(work_of(took=float(took), kind="embed"))
    kept = accuracy(ledger, kind="embed", page_size=10)["entries"]
    assert [value(entry["measured"], "wall_seconds") for entry in kept] == [5, 4, 3]
    assert len(accuracy(ledger, kind="push", page_size=10)["entries"]) == 1
    assert count(database, scores) == 4


def test_corrected_estimates_do_not_take_their_correction_back(ledger: Ledger) -> None:
    """Work takes three times its bare estimate. Once the ledger knows, told estimates are right;
    and that they are right must not be learnt as an error of zero of the bare one."""
    bare = Figure.around(10.0, 0.9, 1.1, Basis.CALIBRATED)
    for number in range(60):
        estimate = estimate_of(wall_seconds=ledger.intervals.apply("distill", "wall_seconds", bare))
        estimate["physical"]["intervals"] = ledger.intervals.basis("distill")
        expect(ledger, estimate, f"op-{number}")
        note(ledger, 1, Tally(phases={"train": Taken(30.0, 30.0)}), f"op-{number}")
        close(ledger, ended(f"op-{number}"))
    assert ledger.intervals.apply("distill", "wall_seconds", bare).p50 == pytest.approx(30.0)
    assert ledger.intervals.basis("distill") == {
        "from_ledger": True,
        "ledger_jobs": 60,
        "needed_jobs": 10,
    }
    assert ledger.intervals.basis("push")["ledger_jobs"] == 0


def test_estimates_without_the_ledger_s_intervals_are_taken_as_they_are(ledger: Ledger) -> None:
    """As those of another device: taken for corrected ones they would seem worse each time."""
    for at in range(30):
        ledger.record(work_of(10.0, 30.0, at=at))
    exact = Figure.exact(10.0, Basis.CALIBRATED)
    told = ledger.intervals.apply("embed", "wall_seconds", exact)
    assert told.numbers() == pytest.approx((30.0, 30.0, 30.0))


def test_an_interval_learns_from_the_latest_alone(ledger: Ledger) -> None:
    for at in range(230):
        ledger.record(work_of(10.0, 90.0 if at < 30 else 10.0, at=at))
    exact = Figure.exact(10.0, Basis.CALIBRATED)
    assert ledger.intervals.apply("embed", "wall_seconds", exact).p90 == pytest.approx(10.0)
    assert ledger.intervals.basis("embed")["ledger_jobs"] == 230


def test_recorded_work_keeps_its_own_figures(ledger: Ledger) -> None:
    figures = measured_of(wall_seconds=3.0, cpu_seconds=2.0)
    ledger.record(work_of(3.0, 3.0, phases=[("infer", figures)], contention=1.5))
    entry = only_entry(ledger)
    assert entry["operation"] == ""
    assert entry["contention"] == 1.5
    assert entry["measured_phases"] == [{"phase": "infer", "resources": figures.to_json()}]


def test_a_rolled_back_operation_expects_nothing(ledger: Ledger) -> None:
    def create() -> None:
        with ledger.database.write() as connection:
            ledger.expect(connection, "op-1", "distill", estimate_of(wall_seconds=1.0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        create()
    assert count(ledger.database, expectations) == 0


def test_an_estimate_is_small_on_disk(ledger: Ledger) -> None:
    said = estimate_of(wall_seconds=10.0, cpu_seconds=12.0)
    total = said["physical"]["total"]
    said["physical"]["phases"] = [{"phase": "train", "resources": total}] * 14
    expect(ledger, said)
    with ledger.database.read() as connection:
        size = connection.exec_driver_sql("SELECT length(estimate) FROM cost_expectations").scalar()
    assert size is not None
    assert size < 2000
