"""A teacher through the server beside the library that people import for it."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.data import Data
from benchmarks.figures import Summary, ratio, summarize
from benchmarks.knobs import Knobs
from benchmarks.report import Report, Table, Target
from benchmarks.serving import Serving, serving
from benchmarks.stream import Case, Side, alternate
from benchmarks.worker import worker
from stillroom import Client
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.distillation.precision import has_native_bf16

TEACHER = "teacher"
LIBRARY = "sentence-transformers"
BATCHES = (32, 256)
TEXTS = 1024
AT = 256
COMPARED = 256
# With and without instructions that multiply bfloat16.
WANTED = {True: (2.5, 0.999), False: (1.0, 0.99999)}


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Serves the teacher, and measures both sides in turns."""
    every = data.banking77("train").texts
    texts = every[:: max(1, len(every) // TEXTS)][:TEXTS]
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        (workspace / "texts.json").write_text(json.dumps(texts))
        _publish(workspace / "data", knobs.teacher)
        log = workspace / "server.log"
        flags = ("--preload", TEACHER, "--device", "cpu", "--log-level", "warning")
        with (
            serving(workspace / "data", log, *flags) as server,
            _sides(server, knobs.teacher, workspace) as sides,
        ):
            say("comparing vectors")
            cosine, engine = _compare(server, sides[LIBRARY], texts, workspace)
            cases: list[Case] = [("stillroom", batch) for batch in BATCHES] + [(LIBRARY, None)]
            spans = alternate(sides, cases, len(texts), knobs, say)
    return _report(knobs, {case: summarize(done) for case, done in spans.items()}, cosine, engine)


def _publish(data_dir: Path, folder: Path) -> None:
    registry = Registry.open(data_dir)
    registry.publish(TEACHER, ModelKind.TEACHER, folder)
    registry.close()


@contextmanager
def _sides(server: Serving, teacher: Path, workspace: Path) -> Iterator[dict[str, Side]]:
    texts = str(workspace / "texts.json")
    with ExitStack() as stack:
        client = stack.enter_context(worker("benchmarks.sides.stream_client", texts, TEACHER))
        both = {"server": server.pid, "client": client.pid}
        module = "benchmarks.sides.encode_sentence_transformers"
        library = stack.enter_context(worker(module, str(teacher), texts))
        yield {
            "stillroom": Side(client, both, {"address": server.address}),
            LIBRARY: Side(library, {"library": library.pid}, {}),
        }


def _compare(
    server: Serving, library: Side, texts: list[str], workspace: Path
) -> tuple[float, str]:
    """The least cosine of both sides' vectors, and what the engine says of itself."""
    path = workspace / "vectors.npy"
    library.asked.ask(save=str(path), count=COMPARED)
    with Client(server.address) as client:
        ours = np.asarray(client.embed(texts[:COMPARED], model=TEACHER), np.float64)
        engine = client.server_info().loaded_models[0].engine_reason
    theirs = np.load(path).astype(np.float64)
    cosines = (ours * theirs).sum(1) / (
        np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    )
    return float(cosines.min()), engine


def _report(knobs: Knobs, found: Mapping[Case, Summary], cosine: float, engine: str) -> Report:
    base = found[LIBRARY, None]
    ratios = {batch: ratio(found["stillroom", batch].rate, base.rate) for batch in BATCHES}
    rate, similar = WANTED[has_native_bf16()]
    rows = [
        [
            side,
            "all" if batch is None else str(batch),
            f"{each.rate:,.0f}",
            f"{each.least:,.0f} to {each.most:,.0f}",
            f"{ratio(each.rate, base.rate):.2f}",
            " + ".join(f"{busy:.2f}" for busy in each.cores.values()),
        ]
        for (side, batch), each in found.items()
    ]
    others = [each.elsewhere for each in found.values() if each.elsewhere is not None]
    return Report(
        name="teacher",
        title="a teacher's texts a second through the server",
        tables=[
            Table(
                f"{knobs.rounds} rounds a case, in turns",
                ["side", "texts a call", "texts/s, median", "range", "to the library", "cores"],
                rows,
            )
        ],
        targets=[
            Target(
                f"EmbedStream at {AT} texts a message to {LIBRARY}",
                f"{ratios[AT]:.2f}",
                f"{rate} or more",
                ratios[AT] >= rate,
            ),
            Target(
                "least cosine of the vectors",
                f"{cosine:.6f}",
                f"{similar} or more",
                cosine >= similar,
            ),
        ],
        notes=[
            f"The teacher of {knobs.package}, {TEXTS:,} texts of Banking77, over and over.",
            f"stillroom: {engine}; server, teacher engine (counted with the server) and the Python"
            " client's embed_stream, over loopback, on the same cores.",
            f"{LIBRARY}: encode of the whole list, float32, its defaults, one process.",
        ],
        not_measured=["A GPU; long texts; several clients at once."],
        values={
            "ratios": {str(batch): value for batch, value in ratios.items()},
            "cosine": cosine,
            "engine": engine,
            "cases": [
                {"side": side, "batch": batch, **vars(summary)}
                for (side, batch), summary in found.items()
            ],
        },
        elsewhere=statistics.median(others) if others else None,
    )
