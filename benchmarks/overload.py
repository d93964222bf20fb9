"""What a server does when five times as much is asked of it as it can do."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.data import Data
from benchmarks.figures import ratio
from benchmarks.knobs import Knobs
from benchmarks.meter import measured, resident
from benchmarks.prepare import STUDENT, published, student_folder
from benchmarks.report import Report, Table, Target
from benchmarks.serving import Serving, serving
from benchmarks.worker import worker
from stillroom_registry.values import ModelKind

TEACHER = "teacher"
TIMES = 5
IN_FLIGHT = 8  # of the closed loop that finds the peak
PEAK_SHARE = 0.25  # of the open loop's seconds
REFUSAL_SECONDS = 0.05
RECOVERY_SECONDS = 2.0
MEMORY = 256_000_000  # bytes above what the server held at its peak of goodput
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Case:
    """A model, texts a message, and the share of its peak that must remain (None: reported)."""

    model: str
    size: int
    wanted: float | None
    refusals: bool = False

    @property
    def name(self) -> str:
        return f"{self.model}, {self.size:,} text{'s' if self.size > 1 else ''} a message"


CASES = (Case(TEACHER, 32, 0.9, refusals=True), Case(STUDENT, 1024, 0.5), Case(STUDENT, 1, None))


@dataclass
class Found:
    """Of one case; messages a second, seconds, bytes."""

    peak: float
    goodput: float
    share: float
    offered: float
    unsent: int
    refusals_p99: float | None
    latency_p99: float | None
    recovery: float
    before_bytes: int
    most_bytes: int
    errors: dict[str, int] = field(default_factory=dict)


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Every case on a server of its own."""
    texts = data.banking77("train").texts
    student = student_folder(knobs, say)
    found: dict[Case, Found] = {}
    with (
        tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder,
        measured({}) as reading,
    ):
        workspace = Path(folder)
        (workspace / "texts.json").write_text(json.dumps(texts))
        data_dir = published(workspace / "data", STUDENT, ModelKind.STUDENT, student)
        published(data_dir, TEACHER, ModelKind.TEACHER, knobs.teacher)
        for case in CASES:
            flags = ("--preload", case.model, "--device", "cpu", "--log-level", "error")
            with serving(data_dir, workspace / "server.log", *flags) as server:
                found[case] = _overload(case, server, workspace, knobs, say)
    _ = reading  # the load itself is this machine's other work
    return _report(knobs, found)


def _overload(
    case: Case, server: Serving, workspace: Path, knobs: Knobs, say: Callable[[str], None]
) -> Found:
    module, texts = "benchmarks.sides.load_client", str(workspace / "texts.json")
    with worker(module, texts, case.model, str(case.size)) as client:
        say(f"{case.name}: the peak")
        calm: dict[str, Any] = client.ask(
            address=server.address,
            concurrency=IN_FLIGHT,
            seconds=max(1.0, PEAK_SHARE * knobs.seconds),
        )
        peak = calm["per_second"]["messages"]
        before = resident(server.pid) or 0
        say(f"{case.name}: {TIMES} times the peak")
        with watched(server.pid) as sizes:
            report = client.ask(
                address=server.address, rate=max(1.0, TIMES * peak), seconds=knobs.seconds
            )
    return judged(peak, report, before, max([before, *sizes]))


def judged(peak: float, report: dict[str, Any], before: int, most: int) -> Found:
    """What ``report``, of the open loop, means beside the closed loop's messages a second."""
    goodput = report["per_second"]["messages"]
    failure, latency = report["failure_seconds"], report["latency_seconds"]
    return Found(
        peak=peak,
        goodput=goodput,
        share=ratio(goodput, peak),
        offered=report["rate"],
        unsent=report["messages"]["unsent"],
        refusals_p99=failure and failure["p99"],
        latency_p99=latency and latency["p99"],
        recovery=report["recovery"],
        before_bytes=before,
        most_bytes=most,
        errors={
            f"{each['code']} {each['reason']} ({each['message']})": each["count"]
            for each in report["errors"]
        },
    )


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """What a process and its children hold in memory, looked at now and then."""
    sizes: list[int] = []
    end = threading.Event()

    def look() -> None:
        while not end.wait(_LOOK_SECONDS):
            sizes.append(resident(pid) or 0)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        end.set()
        thread.join()


def targets(case: Case, found: Found) -> list[Target]:
    """What was wanted of a case."""
    wanted = []
    if case.wanted is not None:
        wanted.append(
            Target(
                f"{case.name}: goodput to peak",
                f"{found.share:.2f}",
                f"{case.wanted} or more",
                found.share >= case.wanted,
            )
        )
    if case.refusals:
        p99 = found.refusals_p99
        wanted.append(
            Target(
                f"{case.name}: p99 of refusals, ms",
                "none refused" if p99 is None else f"{1e3 * p99:.0f}",
                f"{1e3 * REFUSAL_SECONDS:.0f} or less",
                None if p99 is None else p99 <= REFUSAL_SECONDS,
            )
        )
    grown = found.most_bytes - found.before_bytes
    return [
        *wanted,
        Target(
            f"{case.name}: recovery, s",
            f"{found.recovery:.2f}",
            f"{RECOVERY_SECONDS:.0f} or less",
            found.recovery <= RECOVERY_SECONDS,
        ),
        Target(
            f"{case.name}: memory above that at the peak, MB",
            f"{grown / 1e6:,.0f}",
            f"{MEMORY / 1e6:,.0f} or less",
            grown <= MEMORY if found.before_bytes else None,
        ),
    ]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:,.0f}"


def _report(knobs: Knobs, found: dict[Case, Found]) -> Report:
    rows = [
        [
            case.name,
            f"{each.peak:,.0f}",
            f"{each.offered:,.0f}",
            f"{each.unsent:,}",
            f"{each.goodput:,.0f}",
            f"{each.share:.2f}",
            _milliseconds(each.refusals_p99),
            _milliseconds(each.latency_p99),
            f"{each.recovery:.2f}",
            f"{each.before_bytes / 1e6:,.0f} to {each.most_bytes / 1e6:,.0f}",
        ]
        for case, each in found.items()
    ]
    columns = ["case", "peak, msg/s", "offered", "unsent", "goodput", "share"]
    columns += ["refusals p99, ms", "answers p99, ms", "recovery, s", "memory, MB"]
    errors = {case.name: each.errors for case, each in found.items()}
    return Report(
        name="overload",
        title=f"{TIMES} times as much as can be done",
        tables=[Table(f"{knobs.seconds:g} s of an open loop a case", columns, rows)],
        targets=[target for case, each in found.items() for target in targets(case, each)],
        notes=[
            f"stillroom bench's loads: the peak is that of a closed loop with {IN_FLIGHT} messages"
            " in flight; then an open loop, unary. Latency counts from when a message was meant to"
            " be sent; unsent are those due while 10,000 were in flight.",
            "Client and server share the cores, so a client that sends five times as much also"
            " takes from the server what it could do.",
            "Recovery: from the end of the load to the first answer to one who keeps asking.",
            *(
                f"{name}: {count:,} times {code}"
                for name, e in errors.items()
                for code, count in e.items()
            ),
        ],
        not_measured=["Clients on other machines; several clients; streams, which wait instead."],
        values={case.name: asdict(each) for case, each in found.items()},
        timed=False,
    )
