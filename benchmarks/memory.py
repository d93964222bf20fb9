"""Whether a server's memory grows with the texts that go through it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import Data
from benchmarks.knobs import Knobs
from benchmarks.meter import resident
from benchmarks.prepare import STUDENT, student_data
from benchmarks.report import Report, Table, Target
from benchmarks.serving import serving
from benchmarks.worker import worker

WANTED = 1.03
PARTS = 10
BATCH = 256


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Sends the texts in ten parts and looks after each."""
    texts = data.banking77("train").texts + data.banking77("test").texts
    part = max(BATCH, knobs.texts // PARTS)
    held: list[int] = []
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        # Endless repetition of the same texts would hide what grows with new ones.
        (workspace / "texts.json").write_text(json.dumps(varied(texts)))
        data_dir = student_data(knobs, workspace, say)
        flags = ("--preload", STUDENT, "--log-level", "warning")
        with (
            serving(data_dir, workspace / "server.log", *flags) as server,
            worker(
                "benchmarks.sides.stream_client", str(workspace / "texts.json"), STUDENT
            ) as client,
        ):
            for turn in range(PARTS):
                say(f"{turn * part:,} of {PARTS * part:,} texts")
                client.ask(address=server.address, count=part, batch=BATCH)
                held.append(resident(server.pid) or 0)
    return _report(part, held)


def varied(texts: list[str]) -> list[str]:
    """Each text, and each again with a number behind it."""
    return texts + [f"{text} {number:x}" for number, text in enumerate(texts)]


def growth(held: list[int]) -> float:
    """The most bytes after the first part, over those after it."""
    return max(held[1:]) / held[0] if held[0] else float("nan")


def _report(part: int, held: list[int]) -> Report:
    grown = growth(held)
    rows = [[f"{(i + 1) * part:,}", f"{size / 1e6:,.1f}"] for i, size in enumerate(held)]
    return Report(
        name="memory",
        title="a server's memory over many texts",
        tables=[Table("resident memory", ["after so many texts", "MB"], rows)],
        targets=[
            Target(
                "resident memory after the first tenth, grown by a factor of",
                f"{grown:.3f}",
                f"less than {WANTED}",
                grown < WANTED if held[0] else None,
            )
        ],
        notes=[
            f"EmbedStream, {BATCH} texts a message, a stream a part; texts of Banking77, and each"
            " with a number behind it. The most of the later looks counts.",
        ],
        not_measured=["Teachers; texts that never repeat."],
        values={"bytes": held, "growth": grown, "texts": part * PARTS},
        timed=False,
    )
