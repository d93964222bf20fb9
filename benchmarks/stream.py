"""How fast texts become vectors over the network, beside the library that needs no network."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import unary
from benchmarks.data import Data
from benchmarks.figures import Span, Summary, ratio, summarize
from benchmarks.knobs import Knobs
from benchmarks.meter import measured, peak_memory
from benchmarks.prepare import STUDENT, distilled
from benchmarks.report import Report, Table, Target
from benchmarks.serving import Serving, serving
from benchmarks.worker import Worker, worker
from stillroom import Client

# Times model2vec's best, by texts a message; and the median of one text to a no-op's.
WANTED = {32: 3.5, 256: 9.0, 1024: 12.0}
WANTED_UNARY = 1.5
_FIRST_SECONDS = 0.2  # of the round that finds out how many texts take a round


@dataclass(frozen=True)
class Side:
    """Something that embeds: processes whose CPU and memory count, by name, and the question that
    makes it embed so many texts, so many a call."""

    asked: Worker
    processes: Mapping[str, int]
    extra: Mapping[str, Any]

    def span(self, count: int, batch: int | None) -> Span:
        """Embeds at least one batch."""
        count = max(count, batch or 1)
        with measured(self.processes) as reading:
            seconds = self.asked.ask(count=count, batch=batch, **self.extra)
        return Span(count, seconds, reading.cpu, reading.elsewhere)


Case = tuple[str, int | None]  # a side, and texts a call


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Makes a student, serves it, and measures all sides in turns."""
    texts = data.banking77("train").texts + data.banking77("test").texts
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        (workspace / "texts.json").write_text(json.dumps(texts))
        data_dir, student = distilled(knobs, workspace, say)
        log = workspace / "server.log"
        with serving(data_dir, log, "--preload", STUDENT, "--log-level", "warning") as server:
            with _sides(server, student, workspace) as sides:
                library = _faster_library(sides, len(texts), knobs, say)
                cases: list[Case] = [("stillroom", batch) for batch in knobs.batches]
                cases += [(library, None), *((ONE, batch) for batch in knobs.batches)]
                spans = alternate(sides, cases, len(texts), knobs, say)
                memory = {
                    name: peak_memory(pid)
                    for side in ("stillroom", library)
                    for name, pid in sides[side].processes.items()
                }
                single = unary.compare(server, sides["stillroom"].asked, workspace, knobs, say)
            engine = _engine(server)
    found = {case: summarize(done) for case, done in spans.items()}
    return _report(knobs, library, found, memory, single, engine, texts)


ONE, MANY = "model2vec", "model2vec, processes"


@contextmanager
def _sides(server: Serving, student: Path, workspace: Path) -> Iterator[dict[str, Side]]:
    texts = str(workspace / "texts.json")
    with ExitStack() as stack:
        client = stack.enter_context(worker("benchmarks.sides.stream_client", texts, STUDENT))
        both = {"server": server.pid, "client": client.pid}
        sides = {"stillroom": Side(client, both, {"address": server.address})}
        for name, mode in ((ONE, "one"), (MANY, "many")):
            module = "benchmarks.sides.encode_model2vec"
            side = stack.enter_context(worker(module, str(student), texts, mode))
            sides[name] = Side(side, {"library": side.pid}, {})
        yield sides


def _faster_library(
    sides: Mapping[str, Side], texts: int, knobs: Knobs, say: Callable[[str], None]
) -> str:
    """Which setting of model2vec embeds the whole list faster: best of several rounds each."""
    best: dict[str, float] = {ONE: 0.0, MANY: 0.0}
    for turn in range(knobs.warm_up + 3):
        for name in best:
            say(f"which setting of model2vec is faster: {name}")
            rate = sides[name].span(texts, None).rate
            if turn >= knobs.warm_up:
                best[name] = max(best[name], rate)
    return max(best, key=lambda name: best[name])


def alternate(
    sides: Mapping[str, Side],
    cases: list[Case],
    texts: int,
    knobs: Knobs,
    say: Callable[[str], None],
) -> dict[Case, list[Span]]:
    """Every case once a round, so that what slows the machine down slows all of them. A case
    without a batch embeds the whole list of ``texts`` in one call."""
    counts: dict[Case, int] = {}
    for case in cases:
        name, batch = case
        say(f"warm-up: {name}, {batch or 'all'} texts a call")
        first = sides[name].span(batch or texts, batch)
        for _ in range(knobs.warm_up):
            first = sides[name].span(_count(first.rate, _FIRST_SECONDS, batch or texts), batch)
        counts[case] = _count(first.rate, knobs.round_seconds, batch or texts)
    spans: dict[Case, list[Span]] = {case: [] for case in cases}
    for turn in range(knobs.rounds):
        for case in cases:
            say(f"round {turn + 1} of {knobs.rounds}: {case[0]}, {case[1] or 'all'} texts a call")
            spans[case].append(sides[case[0]].span(counts[case], case[1]))
    return spans


def _count(rate: float, seconds: float, multiple: int) -> int:
    """Texts that take about ``seconds``, in whole calls."""
    return max(1, round(rate * seconds / multiple)) * multiple


def _engine(server: Serving) -> dict[str, str]:
    with Client(server.address) as client:
        loaded = client.server_info().loaded_models[0]
    return {"engine": loaded.engine, "tokenizer": loaded.tokenizer}


def _report(
    knobs: Knobs,
    library: str,
    found: dict[Case, Summary],
    memory: dict[str, int | None],
    single: unary.Result,
    engine: dict[str, str],
    texts: list[str],
) -> Report:
    base = found[library, None]
    ratios = {b: ratio(found["stillroom", b].rate, base.rate) for b in knobs.batches}
    rows = [
        _row("stillroom", batch, found["stillroom", batch], ratios[batch])
        for batch in knobs.batches
    ]
    rows.append(_row(library, None, base, 1.0))
    rows += [_row(ONE, b, found[ONE, b], found[ONE, b].rate / base.rate) for b in knobs.batches]
    others = [s.elsewhere for s in found.values() if s.elsewhere is not None]
    columns = ["side", "texts a call", "texts/s, median", "range", "to model2vec's best"]
    columns += ["cores busy"]
    characters = statistics.fmean(map(len, texts))
    targets = []
    for batch in knobs.batches:
        if (wanted := WANTED.get(batch)) is not None:
            what = f"EmbedStream at {batch:,} texts a message to model2vec's best in-process encode"
            times = ratios[batch]
            targets.append(Target(what, f"{times:.1f}", f"{wanted:g} or more", times >= wanted))
    alone = unary.values(single)["gRPC alone"]
    slower = ratio(alone["stillroom"]["p50"], alone["no-op"]["p50"])
    what = "one text by unary, p50 to a no-op's"
    targets.append(
        Target(what, f"{slower:.2f}", f"{WANTED_UNARY:g} or less", slower <= WANTED_UNARY)
    )
    return Report(
        name="stream",
        title="texts a second through the server, and the time of one text",
        tables=[
            Table(f"{knobs.rounds} rounds a case, in turns", columns, rows),
            unary.table(single),
            Table(
                "memory, peak MB",
                ["process", "MB"],
                [[name, f"{size / 1e6:,.0f}"] for name, size in memory.items() if size],
            ),
        ],
        targets=targets,
        notes=[
            f"A student of {knobs.dimensions} dimensions, float32 vectors; {len(texts):,} texts of"
            f" Banking77, {characters:.0f} characters on average, over and over.",
            "stillroom: `stillroom serve` and the Python client's embed_stream with its default"
            " window, each a process, over loopback, on the same cores (cores busy: server +"
            " client).",
            f"The server chose the engine {engine['engine']} and the tokenizer"
            f" {engine['tokenizer']}.",
            f"model2vec: encode of the same student in one process. Its best setting, and the base"
            f" of the ratios: the whole list in one call, {library}.",
            "Every round takes about"
            f" {knobs.round_seconds:g} s; {knobs.warm_up} shorter one(s) before, to warm up.",
            *unary.NOTES,
        ],
        not_measured=[
            "A network: client and server share the cores here, so each has less than its own.",
            "TLS and tokens; several clients at once; float16 and int8 answers.",
            "Long texts; texts of other languages.",
        ],
        values={
            "ratios": {str(batch): value for batch, value in ratios.items()},
            "library": library,
            "cases": [
                {"side": side, "batch": batch, **vars(summary)}
                for (side, batch), summary in found.items()
            ],
            "peak_bytes": memory,
            "unary": unary.values(single),
            **engine,
        },
        elsewhere=statistics.median(others) if others else None,
    )


def _row(side: str, batch: int | None, summary: Summary, times: float) -> list[str]:
    cores = " + ".join(f"{busy:.2f}" for busy in summary.cores.values())
    return [
        side,
        f"{batch:,}" if batch else "all",
        f"{summary.rate:,.0f}",
        f"{summary.least:,.0f} to {summary.most:,.0f}",
        f"{times:.2f}",
        cores,
    ]
