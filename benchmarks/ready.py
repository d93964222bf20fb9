"""How soon a server with one student is ready, and what it holds then."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.data import Data
from benchmarks.knobs import Knobs
from benchmarks.meter import children, measured, peak_memory, resident
from benchmarks.prepare import STUDENT, student_data
from benchmarks.report import Report, Table, Target
from benchmarks.serving import ServerFailedError, serving
from stillroom import Client

WANTED_SECONDS = 1.5
WANTED_BYTES = 250_000_000


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Starts servers one after the other."""
    text = data.banking77("train").texts[0]
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        data_dir = student_data(knobs, workspace, say)
        variables = installed(os.environ, workspace / "compiled")
        starts = []
        for turn in range(1 + knobs.starts):
            say(f"start {turn} of {knobs.starts}")
            starts.append(_start(data_dir, workspace / "server.log", variables, text))
    return _report(knobs, starts[0], starts[1:])


def installed(base: Mapping[str, str], compiled: Path) -> dict[str, str]:
    """``base`` with Python's compiled files kept in ``compiled``, as an installed package has them:
    some environments forbid to write them, and a start would compile everything."""
    kept = {name: value for name, value in base.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(compiled)}


def _start(data_dir: Path, log: Path, variables: Mapping[str, str], text: str) -> dict[str, Any]:
    """One start, to the first answer of the health service, and one text."""
    started = time.perf_counter()
    with (
        measured({"this": os.getpid()}) as reading,
        serving(data_dir, log, "--preload", STUDENT, variables=variables) as server,
    ):
        with grpc.insecure_channel(server.address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=10
            )
        seconds = time.perf_counter() - started
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ServerFailedError("the server said that it is ready, and its health does not")
        with Client(server.address) as client:
            client.embed([text], model=STUDENT)
        found = {
            "seconds": seconds,
            "resident_bytes": resident(server.pid, family=False),
            "peak_bytes": peak_memory(server.pid),
            "children": len(list(children(server.pid))),
        }
    return {**found, "elsewhere": reading.elsewhere}


def _report(knobs: Knobs, first: dict[str, Any], starts: list[dict[str, Any]]) -> Report:
    seconds = [start["seconds"] for start in starts]
    held = max(start["resident_bytes"] or 0 for start in starts)
    peak = max(start["peak_bytes"] or 0 for start in starts)
    processes = max(start["children"] for start in starts)
    median = statistics.median(seconds)
    others = [start["elsewhere"] for start in starts if start["elsewhere"] is not None]
    rows = [
        ["ready, s, median", f"{median:.2f}"],
        ["ready, s, range", f"{min(seconds):.2f} to {max(seconds):.2f}"],
        ["ready, s, the very first start", f"{first['seconds']:.2f}"],
        ["front, MB", f"{held / 1e6:,.0f}"],
        ["front, MB, peak", f"{peak / 1e6:,.0f}"],
        ["front, MB, peak of the very first start", f"{(first['peak_bytes'] or 0) / 1e6:,.0f}"],
        ["other processes", str(processes)],
    ]
    return Report(
        name="ready",
        title="a server with one student",
        tables=[Table(f"{knobs.starts} starts", ["what", "measured"], rows)],
        targets=[
            Target(
                "seconds from exec to SERVING, median",
                f"{median:.2f}",
                f"{WANTED_SECONDS} or less",
                median <= WANTED_SECONDS,
            ),
            Target(
                "resident memory of the front, MB",
                f"{held / 1e6:,.0f}",
                f"{WANTED_BYTES / 1e6:,.0f} or less",
                held <= WANTED_BYTES if held else None,
            ),
            Target("runners and engines started", str(processes), "0", processes == 0),
        ],
        notes=[
            "From before exec to the answer SERVING of the health service, the student loaded;"
            " memory after one text.",
            "The very first start, which does not count, compiles Python's files, as an install"
            " does, and checks the student's engines, whose verdict is kept.",
        ],
        not_measured=["A cold disk."],
        values={"starts": starts, "first": first, "median_seconds": median},
        elsewhere=statistics.median(others) if others else None,
    )
