"""Real work of a real server, with what was said of it before: one fresh server a job."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.data import Data, Labeled
from benchmarks.knobs import Knobs
from benchmarks.memory import varied
from benchmarks.meter import peak_memory, process_seconds
from benchmarks.serving import Serving, serving
from benchmarks.worker import worker
from stillroom import Client, workloads
from stillroom.v1 import cost_service_pb2 as pb

REAL, SMALL, STUDENT = "teacher", "small", "student"
TEACHERS = (REAL, SMALL)
STATIC, TUNED = "static", "static_tuned"
BATCH = 256
FIGURES = ("wall_seconds", "cpu_seconds", "peak_memory_bytes", "disk_bytes")
# Vectors are computed anew in each job, as for somebody who distills for the first time.
_FLAGS = ("--feature-cache-bytes", "0", "--log-level", "warning")
_SETTLE_SECONDS = 1.0  # in which a server sees what else runs
_HOG = "while True: pass"

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Job:
    """``kind``: distill, train or embed; ``size`` in texts, 0: none are read; ``model`` is the
    teacher, the encoder or the student; ``hog``: beside a process that keeps a core busy."""

    kind: str
    size: int
    model: str
    recipe: str = ""
    hog: bool = False

    @property
    def title(self) -> str:
        how = f"{self.recipe} of {self.model}" if self.recipe else self.model
        texts = f", {self.size:,} texts" if self.size else ""
        return f"{self.kind} {how}{texts}{', hog' if self.hog else ''}"


@dataclass(frozen=True)
class Done:
    """What was said, (p10, p50, p90) by figure, and what it took; by phase (median said, taken)
    seconds on the clock. Figures that either side does not know are left out."""

    job: Job
    said: Mapping[str, Three]
    took: Mapping[str, float]
    phases: Mapping[str, tuple[float, float]]
    from_ledger: bool


def matrix(knobs: Knobs, seed: int = 0) -> list[Job]:
    """Every job as often as is asked for, in an order that mixes them."""
    jobs = [Job("distill", 0, teacher, STATIC) for teacher in TEACHERS]
    jobs += [Job("distill", size, teacher, TUNED) for teacher in TEACHERS for size in knobs.corpora]
    jobs += [Job("train", size, STUDENT) for size in knobs.trainings]
    jobs += [Job("embed", size, STUDENT) for size in knobs.embeddings]
    all_jobs = [replace(job, hog=hog) for job in jobs for hog in (False, True)] * knobs.jobs
    random.Random(seed).shuffle(all_jobs)
    return all_jobs


class Bench:
    """Runs jobs on the models in ``data_dir``: ``TEACHERS`` and ``STUDENT``."""

    def __init__(self, workspace: Path, data_dir: Path, data: Data) -> None:
        self._workspace = workspace
        self._data_dir = data_dir
        train = data.banking77("train")
        self._labeled = _shuffled(train)
        lines = data.corpus().read_text(encoding="utf-8").splitlines()
        random.Random(0).shuffle(lines)
        self._lines = lines
        self._texts = workspace / "texts.json"
        self._texts.write_text(json.dumps(varied(train.texts)))

    @contextmanager
    def server(self) -> Iterator[tuple[Serving, Client]]:
        """A fresh one, on the same models and ledger."""
        with (
            serving(self._data_dir, self._workspace / "server.log", *_FLAGS) as server,
            Client(server.address) as client,
        ):
            yield server, client

    def run(self, job: Job) -> Done:
        """Estimates and does it."""
        with _hog(job.hog), self.server() as (server, client):
            time.sleep(_SETTLE_SECONDS)
            if job.kind == "embed":
                return self._embed(job, server, client)
            return self._operation(job, client)

    def estimates(self, count: int) -> tuple[float, list[float]]:
        """Seconds of a first estimate of what was never measured, and of ``count`` later ones."""
        with self.server() as (_, client):
            work = client.distill_request(REAL, "", recipe=TUNED, corpus=self._corpus(1000))
            found = []
            for turn in range(1 + count):
                started = time.perf_counter()
                client.estimate_cost(work, calibration="refresh" if not turn else None)
                found.append(time.perf_counter() - started)
        return found[0], found[1:]

    def _operation(self, job: Job, client: Client) -> Done:
        if job.kind == "distill":
            corpus = self._corpus(job.size) if job.size else None
            operation: Any = client.distill(
                job.model, f"made-{job.model}", recipe=job.recipe, corpus=corpus
            )
        else:
            part = Labeled(self._labeled.texts[: job.size], self._labeled.labels[: job.size])
            pairs = list(zip(part.texts, part.labels, strict=True))
            operation = client.train_classifier("trained", job.model, pairs)
        operation.result()
        entry = next(iter(client.estimate_ledger(operation=operation.name)))
        return _done(job, entry)

    def _embed(self, job: Job, server: Serving, client: Client) -> Done:
        texts = json.loads(self._texts.read_text())[:BATCH]
        batch = next(iter(client.embed_stream(texts, model=job.model, batch_size=BATCH)))
        tokens = float(statistics.fmean(batch.token_counts))
        work = workloads.embed(job.model, job.size, tokens_per_text=tokens)
        said = client.estimate_cost(work).estimate.message
        module = "benchmarks.sides.stream_client"
        with worker(module, str(self._texts), job.model) as side:
            side.ask(address=server.address, count=BATCH, batch=BATCH)
            spent = process_seconds(server.pid)
            wall = side.ask(address=server.address, count=job.size, batch=BATCH)
            took = {"wall_seconds": wall, "cpu_seconds": process_seconds(server.pid) - spent}
            memory = peak_memory(server.pid)
        if memory is not None:
            took["peak_memory_bytes"] = float(memory)
        figures = _said(said.physical.total)
        known = {name: took[name] for name in took if name in figures}
        return Done(job, figures, known, {}, said.physical.intervals.from_ledger)

    def _corpus(self, size: int) -> Path:
        file = self._workspace / f"corpus-{size}.txt"
        if not file.exists():
            file.write_text("\n".join(self._lines[:size]), encoding="utf-8")
        return file


@contextmanager
def _hog(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", _HOG], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _shuffled(part: Labeled) -> Labeled:
    order = list(range(len(part.texts)))
    random.Random(0).shuffle(order)
    return Labeled([part.texts[i] for i in order], [part.labels[i] for i in order])


def _done(job: Job, entry: pb.LedgerEntry) -> Done:
    said = _said(entry.estimate.physical.total)
    took = {name: three[1] for name, three in _said(entry.measured).items()}
    phases = {}
    for phase in entry.estimate.physical.phases:
        for measured in entry.measured_phases:
            if measured.phase == phase.phase and measured.resources.wall_seconds.HasField("p50"):
                phases[phase.phase] = (
                    phase.resources.wall_seconds.p50,
                    measured.resources.wall_seconds.p50,
                )
    basis = entry.estimate.physical.intervals
    return Done(job, said, took, phases, basis.from_ledger)


def _said(figures: pb.ResourceFigures) -> dict[str, Three]:
    found = {}
    for name in FIGURES:
        figure = getattr(figures, name)
        if figure.HasField("p50"):
            found[name] = (figure.p10, figure.p50, figure.p90)
    return found


def prepare(bench: Bench, knobs: Knobs, small: Path, say: Callable[[str], None]) -> None:
    """The models that jobs are about."""
    with bench.server() as (_, client):
        say("importing two teachers")
        client.import_model(REAL, path=knobs.teacher).result()
        client.import_model(SMALL, path=small).result()
        say("distilling a student")
        client.distill(SMALL, STUDENT, recipe=STATIC).result()
