"""What long work costs others and what a kill costs it: a distillation that is killed half way
resumes to the same bytes, and while one runs, unary requests hardly notice."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import Data
from benchmarks.figures import percentile, ratio
from benchmarks.knobs import Knobs
from benchmarks.meter import children
from benchmarks.report import Report, Table, Target
from benchmarks.serving import Serving, serving
from stillroom import Client, Operation
from stillroom.v1 import distillation_service_pb2 as pb

TEXTS = 16_000  # of the corpus: enough to be killed in the middle of, few enough for two runs
HALF = 0.5
PAUSE = 0.002  # between calls, so that they arrive all through the run
TURN_SECONDS = 2.0
_RUNNER = b"stillroom_server.operations.runner"
# What must be the same bytes; figures of the clock stand in other files.
_SAME = ("model.safetensors", "tokenizer.json", "config.json", "onnx/model.onnx")


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Distills once undisturbed and once killed, each in a data directory of its own."""
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        corpus = workspace / "corpus.txt"
        lines = data.corpus().read_text(encoding="utf-8").splitlines()[:TEXTS]
        corpus.write_text("\n".join(lines), encoding="utf-8")
        say("distilling undisturbed, then beside requests")
        with _ready(knobs, workspace / "whole") as (server, client):
            start = time.perf_counter()
            _start(client, corpus, "student").result()
            whole = time.perf_counter() - start
            first = _digests(client, workspace / "first")
            idle, during = _latencies(client, server, _start(client, corpus, "other", seed=1))
        say("distilling with a kill half way")
        with _ready(knobs, workspace / "killed") as (server, client):
            operation = _start(client, corpus, "student")
            for progress in operation.progress():
                if progress.fraction >= HALF:
                    break
            os.kill(_runner(server), signal.SIGKILL)
            start = time.perf_counter()
            operation.result()
            rest = time.perf_counter() - start
            second = _digests(client, workspace / "second")
    return _report(whole, rest, first, second, idle, during)


@contextmanager
def _ready(knobs: Knobs, folder: Path) -> Iterator[tuple[Serving, Client]]:
    folder.mkdir()
    with serving(folder / "data", folder / "log") as server, Client(server.address) as client:
        client.import_model("teacher", path=knobs.teacher).result()
        client.distill("teacher", "small", recipe="static", dimensions=64).result()
        client.embed("warm", model="small")
        yield server, client


def _start(client: Client, corpus: Path, name: str, seed: int = 0) -> Operation[pb.DistillResponse]:
    return client.distill("teacher", name, recipe="static_tuned", corpus=corpus, seed=seed)


def _latencies(
    client: Client, server: Serving, operation: Operation[pb.DistillResponse]
) -> tuple[list[float], list[float]]:
    """Seconds of unary calls of one text, while ``operation`` stands still and while it runs: its
    process is stopped every other turn, as the machine itself is not the same all the time."""
    found: tuple[list[float], list[float]] = ([], [])
    runs = 0
    while True:
        operation.refresh()
        if operation.done:
            operation.result()
            return found
        os.kill(_runner(server), signal.SIGCONT if runs else signal.SIGSTOP)
        end = time.perf_counter() + TURN_SECONDS
        while (start := time.perf_counter()) < end:
            client.embed("how long does this take?", model="small")
            found[runs].append(time.perf_counter() - start)
            time.sleep(PAUSE)
        runs = 1 - runs


def _runner(server: Serving) -> int:
    for pid in children(server.pid):
        if _RUNNER in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise RuntimeError("no runner to kill")


def _digests(client: Client, folder: Path) -> dict[str, str]:
    client.download("student", folder)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _SAME}


def _report(
    whole: float,
    rest: float,
    first: dict[str, str],
    second: dict[str, str],
    idle: list[float],
    during: list[float],
) -> Report:
    p99 = {name: percentile(found, 0.99) for name, found in (("idle", idle), ("during", during))}
    p50 = {name: percentile(found, 0.5) for name, found in (("idle", idle), ("during", during))}
    share, slower = rest / whole, ratio(p99["during"], p99["idle"])
    return Report(
        name="durable",
        title="a distillation killed half way, and requests beside one",
        tables=[
            Table(
                f"STATIC_TUNED on {TEXTS:,} texts",
                ["run", "seconds", "share"],
                [
                    ["undisturbed", f"{whole:.1f}", "1.00"],
                    ["from SIGKILL at half way to the end", f"{rest:.1f}", f"{share:.2f}"],
                ],
            ),
            Table(
                "one text by unary, milliseconds",
                ["server", "p50", "p99", "calls"],
                [
                    [name, f"{1e3 * p50[name]:.2f}", f"{1e3 * p99[name]:.2f}", f"{len(found):,}"]
                    for name, found in (("idle", idle), ("during", during))
                ],
            ),
        ],
        targets=[
            Target("time to resume", f"{share:.2f}", "0.60 of a run or less", share <= 0.6),
            Target("the same bytes", str(first == second), "True", first == second),
            Target("unary p99 during a run", f"{slower:.2f}x", "1.5x or less", slower <= 1.5),
        ],
        notes=[
            "SIGKILL to the runner process when the operation's own progress says half.",
            f"Calls of one text, {1e3 * PAUSE:.0f} ms apart, all through a second run: its process"
            f" stands still (idle) or runs (during) by turns of {TURN_SECONDS:.0f} s.",
        ],
        not_measured=["Kills at random moments: `make test-faults`."],
        values={"whole": whole, "rest": rest, "p99": p99, "p50": p50, "same": first == second},
    )
