"""A shallow transformer distilled by a real server, beside its teacher: quality and speed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import Data
from benchmarks.knobs import Knobs
from benchmarks.quality import Encode
from benchmarks.report import Report, Table, Target
from benchmarks.serving import serving
from benchmarks.tuned import STS, TEACHER, at_least, encoder, row, score
from stillroom import Client

SHALLOW = "shallow"
TEXTS = 512
MINUTES = 45


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Distills half of the teacher's layers on the whole corpus, and scores what is served."""
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        with (
            serving(workspace / "data", workspace / "server.log") as server,
            Client(server.address) as client,
        ):
            client.import_model("teacher", path=knobs.teacher).result()
            say("distilling a shallow transformer; this takes a while")
            start = time.perf_counter()
            made = client.distill(
                "teacher", SHALLOW, recipe="transformer", corpus=data.corpus()
            ).result()
            minutes = (time.perf_counter() - start) / 60
            sides = {TEACHER: encoder(client, "teacher"), SHALLOW: encoder(client, SHALLOW)}
            rates = _rates(sides, data.banking77("test").texts[:TEXTS], knobs, say)
            scores = {side: score(encode, data, say, side) for side, encode in sides.items()}
    teacher, shallow = scores[TEACHER], scores[SHALLOW]
    share, faster = shallow[STS] / teacher[STS], rates[SHALLOW] / rates[TEACHER]
    speeds = [[side, f"{rate:,.0f}"] for side, rate in rates.items()]
    phases = dict(made.report.seconds)
    return Report(
        name="shallow",
        title="a transformer of half the teacher's layers",
        tables=[
            Table(
                "higher is better",
                ["side", *shallow, "of teacher's STS"],
                [row(side, found, teacher) for side, found in scores.items()],
            ),
            Table(f"speed by stream, {TEXTS} texts", ["side", "texts/s"], speeds),
            Table(
                "the operation by phase",
                ["phase", "seconds"],
                [[name, f"{seconds:.1f}"] for name, seconds in phases.items()],
            ),
        ],
        targets=[
            at_least(f"{STS}, share of the teacher's", share, 0.98),
            Target("texts/s to the teacher's", f"{faster:.2f}x", "1.8x or more", faster >= 1.8),
            Target(
                "wall time of the operation",
                f"{minutes:.1f} min",
                f"{MINUTES} min or less",
                minutes <= MINUTES,
            ),
        ],
        notes=[
            "Made by an operation of a running server; options left to the server.",
            "Both embedded through streams of the same server: the teacher by torch in the teacher"
            " engine, the student by onnxruntime in the front.",
        ],
        not_measured=["Other corpora, teachers, depths and widths; GPUs."],
        values={"scores": scores, "rates": rates, "minutes": minutes, "phases": phases},
    )


def _rates(
    sides: dict[str, Encode], texts: list[str], knobs: Knobs, say: Callable[[str], None]
) -> dict[str, float]:
    """Texts a second of each side, the medians of rounds in turns."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(knobs.warm_up + knobs.rounds):
        for side, encode in sides.items():
            say(f"speed of {side}")
            start = time.perf_counter()
            encode(texts)
            if number >= knobs.warm_up:
                found[side].append(len(texts) / (time.perf_counter() - start))
    return {side: statistics.median(rates) for side, rates in found.items()}
