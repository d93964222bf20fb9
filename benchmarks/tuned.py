"""Students fitted to a corpus, made and served by a real server, beside their teacher."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import STS_YEARS, Data
from benchmarks.knobs import Knobs
from benchmarks.quality import Encode, accuracy, spearman
from benchmarks.report import Report, Table, Target
from benchmarks.serving import serving
from stillroom import Client
from stillroom_server.distillation.precision import has_native_bf16

TEACHER, STATIC, TUNED, PREFIX, INT8 = "teacher", "static", "tuned", "tuned, 64-d", "tuned, int8"
PREFIX_DIMENSIONS = 64
STS, BANKING77, TREC = "mean STS", "Banking77", "TREC"
Scores = dict[str, dict[str, float]]


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Distills with and without the corpus, quantizes, and scores what the server answers."""
    corpus = data.corpus()
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        with (
            serving(workspace / "data", workspace / "server.log") as server,
            Client(server.address) as client,
        ):
            facts = _make(client, knobs, corpus, say)
            sides = {
                TEACHER: encoder(client, "teacher"),
                STATIC: encoder(client, "static"),
                TUNED: encoder(client, "tuned"),
                PREFIX: encoder(client, "tuned", dimensions=PREFIX_DIMENSIONS),
                INT8: encoder(client, "tuned-int8"),
            }
            scores = {side: score(encode, data, say, side) for side, encode in sides.items()}
    return _report(knobs, scores, facts)


def score(encode: Encode, data: Data, say: Callable[[str], None], side: str) -> dict[str, float]:
    """The figures of one side, by their names."""
    found: dict[str, float] = {}
    for year in STS_YEARS:
        say(f"{side}: STS {year}")
        found[f"STS {year}"] = spearman(encode, data.sts(year))
    found[STS] = sum(found.values()) / len(found)
    say(f"{side}: {BANKING77}")
    found[BANKING77] = accuracy(encode, data.banking77("train"), data.banking77("test"))
    say(f"{side}: {TREC}")
    found[TREC] = accuracy(encode, data.trec("train"), data.trec("test"))
    return found


def _make(client: Client, knobs: Knobs, corpus: Path, say: Callable[[str], None]) -> dict[str, Any]:
    say("importing the teacher")
    client.import_model("teacher", path=knobs.teacher).result()
    say("distilling without a corpus")
    client.distill("teacher", "static", recipe="static", dimensions=knobs.dimensions).result()
    say("distilling with the corpus")
    start = time.perf_counter()
    made = client.distill("teacher", "tuned", corpus=corpus, dimensions=knobs.dimensions).result()
    wall = time.perf_counter() - start
    say("quantizing")
    small = client.distill("tuned", "tuned-int8", recipe="quantize", element_type="int8").result()
    return {
        "wall_seconds": wall,
        "phases": dict(made.report.seconds),
        "float32_bytes": made.report.vocabulary_size * made.report.dimensions * 4,
        "int8_bytes": small.report.student_bytes,
        "native_bf16": has_native_bf16(),
    }


def encoder(client: Client, model: str, **options: Any) -> Encode:
    """Embeds by ``client`` on ``model``."""

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(client.embed(list(texts), model=model, **options))

    return encode


def _report(knobs: Knobs, scores: Scores, facts: dict[str, Any]) -> Report:
    teacher, tuned = scores[TEACHER], scores[TUNED]
    share = {name: tuned[name] / teacher[name] for name in tuned}
    prefix = scores[PREFIX][STS] / tuned[STS]
    lost = max(tuned[name] - scores[INT8][name] for name in tuned)
    size = facts["int8_bytes"] / facts["float32_bytes"]
    wall = facts["wall_seconds"]
    rows = [row(side, found, teacher) for side, found in scores.items()]
    phases = [[name, f"{seconds:.1f}"] for name, seconds in facts["phases"].items()]
    return Report(
        name="tuned",
        title=f"students of {knobs.dimensions} dimensions, with and without a corpus",
        tables=[
            Table("higher is better", ["side", *tuned, "of teacher's STS"], rows),
            Table("the operation with the corpus, by phase", ["phase", "seconds"], phases),
        ],
        targets=[
            at_least(f"{STS}, share of the teacher's", share[STS], 0.95),
            at_least(f"{BANKING77}, share of the teacher's", share[BANKING77], 0.99),
            Target(TREC, f"{tuned[TREC]:.1f}", "78 or more", tuned[TREC] >= 78),
            at_least(f"{PREFIX_DIMENSIONS}-d prefix, {STS}, share of the whole", prefix, 0.96),
            Target("most points that int8 loses", f"{lost:.2f}", "0.2 or fewer", lost <= 0.2),
            Target("int8's size, share of float32's", f"{size:.3f}", "0.27 or less", size <= 0.27),
            Target(
                "wall time of the operation with the corpus",
                f"{wall:.0f} s",
                "120 s or less with native bf16",
                wall <= 120 if facts["native_bf16"] else None,
            ),
        ],
        notes=[
            "Made by operations of a running server, embedded through its streams.",
            "Corpus: corpus/general.txt, whole; recipe and options left to the server but for the"
            " dimensions.",
            "Scores as in `quality`.",
        ],
        not_measured=["Other corpora and teachers; retrieval; languages other than English."],
        values={"scores": scores, "share_of_teacher": share, "prefix": prefix, **facts},
    )


def row(side: str, found: dict[str, float], teacher: dict[str, float]) -> list[str]:
    """A row of the table of scores: the figures, and the share of the teacher's STS."""
    share = found[STS] / teacher[STS]
    return [side, *(f"{value:.1f}" for value in found.values()), f"{share:.1%}"]


def at_least(what: str, share: float, wanted: float) -> Target:
    """A target for a share."""
    return Target(what, f"{share:.1%}", f"{wanted:.0%} or more", share >= wanted)
