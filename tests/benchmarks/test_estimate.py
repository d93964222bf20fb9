"""What is said of estimates that have been tried."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.estimate import coverage, log_ratios, report, width
from benchmarks.estimate_jobs import Done, Job, matrix
from benchmarks.knobs import Knobs

KNOBS = Knobs(package="p", teacher=Path("teacher"))
JOB = Job("distill", 500, "teacher", "static_tuned")


def done(took: float, *, job: Job = JOB, memory: float = 100.0) -> Done:
    """Said to take 8 to 20 seconds, 10 in the median, and 100 bytes."""
    said = {"wall_seconds": (8.0, 10.0, 20.0), "peak_memory_bytes": (90.0, 100.0, 110.0)}
    measured = {"wall_seconds": took, "peak_memory_bytes": memory}
    return Done(job, said, measured, {"encode": (5.0, took / 2)}, from_ledger=False)


def test_every_job_is_done_idle_and_beside_a_hog_in_a_fixed_order() -> None:
    jobs = matrix(KNOBS)
    assert len(jobs) == 22
    assert len(set(jobs)) == 22
    assert jobs == matrix(KNOBS)
    assert jobs != matrix(KNOBS, seed=1)
    assert sum(job.hog for job in jobs) == 11
    assert len(matrix(replace(KNOBS, jobs=2))) == 44


def test_ratios_coverage_and_width() -> None:
    jobs = [done(10.0), done(20.0), done(40.0)]
    assert log_ratios(jobs, "wall_seconds") == pytest.approx([0.0, math.log(2), math.log(4)])
    assert coverage(jobs) == pytest.approx(2 / 3)
    assert width(jobs) == 2.5


def test_what_nobody_measured_is_in_no_figure() -> None:
    one = replace(done(10.0), took={})
    assert log_ratios([one], "wall_seconds") == []
    assert math.isnan(coverage([one]))


def targets(jobs: list[Done]) -> dict[str, bool | None]:
    found = report(jobs, 2.9, [0.01, 0.011, 0.5]).targets
    return {target.what.partition(":")[0]: target.met for target in found}


def test_targets_that_are_met_and_missed() -> None:
    jobs = [done(11.0), done(9.0, job=replace(JOB, hog=True))] * 20
    met = targets(jobs)
    assert met["wall time, idle"] is True
    assert met["wall time, beside a hog"] is None
    assert met["wall time within p10 to p90, of jobs unseen"] is True
    assert met["peak memory, the most that it was off"] is True
    assert met["an estimate, median of 3 calls"] is True
    met = targets([*jobs[:39], done(30.0, memory=112.0)])
    assert met["peak memory, the most that it was underestimated"] is False
    assert met["peak memory, the most that it was off"] is True
    assert targets([done(30.0)] * 40)["wall time, idle"] is False
    assert targets([done(30.0)] * 40)["wall time within p10 to p90, of jobs unseen"] is False


def test_few_jobs_decide_nothing_about_intervals() -> None:
    assert targets([done(11.0)])["the same, median p90 / p10"] is None
