"""Whether what was estimated is what it then took: real work on a real server, idle and beside a
process that keeps a core busy."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import random_teacher
from benchmarks.data import Data
from benchmarks.estimate_jobs import Bench, Done, matrix, prepare
from benchmarks.knobs import Knobs
from benchmarks.report import Report, Table, Target

LOG_RATIO = math.log(1.25)
COVERAGE, WIDTH, JOBS = 0.7, 2.5, 40
MEMORY, UNDER = 0.15, 0.10
CALL_SECONDS = 0.020
_CALLS = 50


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Does every job once its estimate is known; the ledger learns from job to job."""
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        small = random_teacher.make(knobs.teacher, workspace / "small")
        bench = Bench(workspace, workspace / "data", data)
        prepare(bench, knobs, small, say)
        say("estimating")
        first, calls = bench.estimates(_CALLS)
        done: list[Done] = []
        jobs = matrix(knobs)
        for place, job in enumerate(jobs, 1):
            say(f"{place} of {len(jobs)}: {job.title}")
            done.append(bench.run(job))
    return report(done, first, calls)


def log_ratios(done: Sequence[Done], figure: str) -> list[float]:
    """log(taken / said) of the jobs that know both."""
    return [
        math.log(one.took[figure] / one.said[figure][1])
        for one in done
        if figure in one.took and figure in one.said and one.took[figure] > 0
    ]


def coverage(done: Sequence[Done], figure: str = "wall_seconds") -> float:
    """Share of jobs that took what their interval said."""
    known = [one for one in done if figure in one.took and figure in one.said]
    within = sum(one.said[figure][0] <= one.took[figure] <= one.said[figure][2] for one in known)
    return within / len(known) if known else math.nan


def width(done: Sequence[Done], figure: str = "wall_seconds") -> float:
    """Median of p90 / p10."""
    found = [one.said[figure] for one in done if figure in one.said and one.said[figure][0] > 0]
    return statistics.median(high / low for low, _, high in found) if found else math.nan


def report(done: Sequence[Done], first: float, calls: Sequence[float]) -> Report:
    """The figures, and whether they are what they should be."""
    idle = [one for one in done if not one.job.hog]
    beside = [one for one in done if one.job.hog]
    memory = log_ratios(done, "peak_memory_bytes")
    most = max((math.exp(abs(each)) - 1.0 for each in memory), default=math.nan)
    under = max((1.0 - math.exp(-each) for each in memory), default=math.nan)
    middle = statistics.median(calls)
    covered, wide = coverage(done), width(done)
    enough = len(done) >= JOBS
    few = "" if enough else f" of {len(done)} jobs, too few to decide"
    return Report(
        name="estimate",
        title="what was estimated, and what it took",
        tables=[
            Table(
                "in the order they ran, seconds on the clock and MB",
                ["job", "p10", "p50", "p90", "took", "ratio", "MB", "took", "ratio"],
                [_row(one) for one in done],
            ),
            Table(
                "by kind of work, median of |log(taken / estimated)| as a factor",
                ["kind", "jobs", "wall, idle", "wall, beside a hog", "cores", "memory", "covered"],
                _kinds(done),
            ),
            Table(
                "phases, idle: median of taken / estimated, and share of the time taken",
                ["phase", "jobs", "ratio", "share"],
                _phases(idle),
            ),
        ],
        targets=[
            _ratio_target("wall time, idle", idle, "wall_seconds"),
            _ratio_target("wall time, beside a hog", beside, "wall_seconds", decides=False),
            Target(
                "wall time within p10 to p90, of jobs unseen",
                f"{covered:.0%}{few}",
                f"{COVERAGE:.0%} or more",
                covered >= COVERAGE if enough else None,
            ),
            Target(
                "the same, median p90 / p10",
                f"{wide:.2f}",
                f"{WIDTH} or less",
                wide <= WIDTH if enough else None,
            ),
            Target(
                "peak memory, the most that it was off",
                f"{most:.0%}",
                f"{MEMORY:.0%} or less",
                most <= MEMORY,
            ),
            Target(
                "peak memory, the most that it was underestimated",
                f"{max(under, 0.0):.0%}",
                f"{UNDER:.0%} or less",
                under <= UNDER,
            ),
            Target(
                f"an estimate, median of {len(calls)} calls",
                f"{1e3 * middle:.1f} ms",
                f"{1e3 * CALL_SECONDS:.0f} ms or less",
                middle <= CALL_SECONDS,
            ),
        ],
        notes=[
            "Each job has a fresh server, and with it a fresh runner, on the same data directory:"
            " models and ledger stay, vectors of teachers are computed anew.",
            "Operations: figures of the server's own ledger, whose estimate was stored before the"
            " work began. Embed: EmbedStream of 256 texts a message, clocked by the client, after a"
            " first message that loads the student.",
            "The small teacher has 2 layers of 128 and random weights, with the tokenizer of the"
            " real one; it is also what the student was distilled from. Corpus: general.txt, in a"
            " fixed order. Trainings: Banking77.",
            f"A first estimate on a host, measuring it, took {first:.1f} s.",
        ],
        not_measured=["Accelerators; transformer students; push and pull; serving a rate."],
        values={
            "jobs": [asdict(one) for one in done],
            "idle": _factor(idle, "wall_seconds"),
            "beside": _factor(beside, "wall_seconds"),
            "coverage": covered,
            "width": wide,
            "memory_off": most,
            "memory_under": under,
            "calls": list(calls),
            "first_call": first,
        },
        timed=False,
    )


def _ratio_target(what: str, done: Sequence[Done], figure: str, *, decides: bool = True) -> Target:
    found = log_ratios(done, figure)
    middle = statistics.median(map(abs, found)) if found else math.nan
    return Target(
        f"{what}: median of |log(taken / estimated)|, as a factor",
        f"{math.exp(middle):.2f}",
        f"{math.exp(LOG_RATIO):.2f} or less" if decides else "no goal",
        middle <= LOG_RATIO if decides else None,
    )


def _row(one: Done) -> list[str]:
    cells = [one.job.title]
    for figure, scale, form in (("wall_seconds", 1.0, ".1f"), ("peak_memory_bytes", 1e6, ".0f")):
        said, took = one.said.get(figure), one.took.get(figure)
        three = () if said is None else said if figure == "wall_seconds" else said[1:2]
        blanks = 3 if figure == "wall_seconds" else 1
        cells += [format(each / scale, form) for each in three] or ["-"] * blanks
        cells.append("-" if took is None else format(took / scale, form))
        cells.append("-" if said is None or took is None else f"{took / said[1]:.2f}")
    return cells


def _kinds(done: Sequence[Done]) -> list[list[str]]:
    rows = []
    for kind in dict.fromkeys(one.job.kind for one in done):
        own = [one for one in done if one.job.kind == kind]
        idle = [one for one in own if not one.job.hog]
        beside = [one for one in own if one.job.hog]
        factors = [
            _factor(idle, "wall_seconds"),
            _factor(beside, "wall_seconds"),
            _factor(own, "cpu_seconds"),
            _factor(own, "peak_memory_bytes"),
        ]
        cells = [f"{factor:.2f}" for factor in factors]
        rows.append([kind, f"{len(own)}", *cells, f"{coverage(own):.0%}"])
    return rows


def _factor(done: Sequence[Done], figure: str) -> float:
    found = log_ratios(done, figure)
    return math.exp(statistics.median(map(abs, found))) if found else math.nan


def _phases(done: Sequence[Done]) -> list[list[str]]:
    total = sum(took for one in done for _, took in one.phases.values())
    names = dict.fromkeys((one.job.kind, name) for one in done for name in one.phases)
    rows = []
    for kind, name in names:
        both = [one.phases[name] for one in done if one.job.kind == kind and name in one.phases]
        ratios = [took / said for said, took in both if said > 0]
        middle = f"{statistics.median(ratios):.2f}" if ratios else "-"
        share = sum(took for _, took in both) / total if total else 0.0
        rows.append([f"{kind}: {name}", f"{len(both)}", middle, f"{share:.1%}"])
    return rows
