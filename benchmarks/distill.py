"""How long a distillation takes, from the start of a fresh process to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, meter
from benchmarks.data import Data
from benchmarks.figures import Span, ratio, summarize
from benchmarks.knobs import Knobs
from benchmarks.report import Report, Table, Target
from benchmarks.serving import environment

WHOLE, TABLE_ONLY, THEIRS = "stillroom", "stillroom, no ONNX", "model2vec"
WANTED = 0.6


class SideFailedError(Exception):
    """A side ended with an error; what it said is on standard error."""


@dataclass(frozen=True)
class Run:
    """One process: its time, its peak of memory in bytes, what it printed."""

    span: Span
    memory: int
    said: str


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:  # noqa: ARG001
    """Runs the sides in turns, so that what slows the machine down slows all of them."""
    runs: dict[str, list[Run]] = {WHOLE: [], TABLE_ONLY: [], THEIRS: []}
    for turn in range(knobs.warm_up + knobs.pairs):
        for side, done in runs.items():
            say(f"{side}, {'warm-up' if turn < knobs.warm_up else f'round {turn}'}")
            with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
                one = fresh_process(command(side, knobs, Path(folder) / "student"))
            if turn >= knobs.warm_up:
                done.append(one)
    return _report(knobs, runs, machine.describe())


def command(side: str, knobs: Knobs, output: Path) -> list[str]:
    """The command line of a side."""
    module = "distill_model2vec" if side == THEIRS else "distill_stillroom"
    arguments = [str(knobs.teacher), str(output), str(knobs.dimensions)]
    if side != THEIRS:
        arguments.append("verify" if side == WHOLE else "table")
    return [sys.executable, "-m", f"benchmarks.sides.{module}", *arguments]


def fresh_process(arguments: Sequence[str]) -> Run:
    """Runs a command to its end, without a network to wait for. Raises SideFailedError."""
    settings = {**environment(os.environ), "HF_HUB_OFFLINE": "1"}
    busy = meter.machine_seconds()
    started = time.perf_counter()
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=settings
    )
    assert process.stdout is not None
    with process.stdout as stream:
        said = stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SideFailedError(f"{' '.join(arguments)} ended with status {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    after = meter.machine_seconds()
    known = busy is not None and after is not None
    elsewhere = max(0.0, ((after or 0.0) - (busy or 0.0) - cpu) / wall) if known else None
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(Span(1, wall, {"process": cpu}, elsewhere), usage.ru_maxrss * unit, said)


def _report(knobs: Knobs, runs: dict[str, list[Run]], here: machine.Machine) -> Report:
    seconds = {side: [one.span.wall for one in done] for side, done in runs.items()}
    summaries = {side: summarize([one.span for one in done]) for side, done in runs.items()}
    medians = {side: 1.0 / summary.rate for side, summary in summaries.items()}
    ratios = {side: ratio(medians[side], medians[THEIRS]) for side in (WHOLE, TABLE_ONLY)}
    memory = {side: max(one.memory for one in done) for side, done in runs.items()}
    rows = [
        [
            side,
            f"{medians[side]:.2f}",
            f"{min(seconds[side]):.2f} to {max(seconds[side]):.2f}",
            f"{ratios[side]:.2f}" if side in ratios else "1",
            f"{summaries[side].cores['process']:.2f}",
            f"{memory[side] / 1e6:,.0f}",
        ]
        for side in runs
    ]
    others = [s.elsewhere for s in summaries.values() if s.elsewhere is not None]
    phases = json.loads(runs[WHOLE][-1].said)
    columns = ["side", "seconds, median", "range", "to model2vec", "cores busy", "peak MB"]
    return Report(
        name="distill",
        title=f"from the start of a fresh process to a saved student of {knobs.dimensions}"
        " dimensions",
        tables=[Table(f"{knobs.pairs} rounds a side, in turns", columns, rows), _phases(phases)],
        targets=[
            Target(
                f"wall time of {side} to model2vec's, on a CPU with native bf16",
                f"{found:.2f}" + ("" if here.native_bf16 else " (bf16 is not native here)"),
                f"{WANTED} or less",
                found <= WANTED if here.native_bf16 else None,
            )
            for side, found in ratios.items()
        ],
        notes=[
            "Every round is a new Python process; starting it and its imports count on every side.",
            "stillroom: the static recipe: load the teacher, encode the vocabulary, PCA, weights,"
            " write the folder; export ONNX and check it in 200 runs against float64.",
            "stillroom, no ONNX: the same without export and check: what model2vec does.",
            "model2vec: distill(pca_dims) and save_pretrained, all else by default; no ONNX.",
            f"Stillroom computed in {phases['compute_type']}, model2vec computes in float32.",
            f"{knobs.warm_up} round(s) of each side before the first that counts, to warm up.",
        ],
        not_measured=[
            "What an operation of the server adds: reading the teacher from the registry, hashing"
            " and publishing the student (under a second); nor that the runner leaves a core to"
            " serving and runs at low priority.",
            "A teacher on a GPU.",
        ],
        values={
            "seconds": seconds,
            "medians": medians,
            "ratios": ratios,
            "cores": {side: summary.cores["process"] for side, summary in summaries.items()},
            "peak_bytes": memory,
            "stillroom": phases,
            "native_bf16": here.native_bf16,
        },
        elsewhere=max(others) if others else None,
    )


def _phases(said: dict[str, Any]) -> Table:
    seconds = said["seconds"]
    rows = [[name, f"{spent:.2f}"] for name, spent in seconds.items()]
    return Table("stillroom, last round, seconds by phase", ["phase", "seconds"], rows)
