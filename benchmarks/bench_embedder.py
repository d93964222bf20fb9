"""Embedding in-process, without a server: StudentEmbedder beside model2vec's encode.

    STILLROOM_BENCH_DATA=FOLDER python benchmarks/bench_embedder.py STUDENT [--json]

STUDENT is a folder that model2vec can load. Both sides run in turns in one process on the same
texts; a figure is the median of its rounds, after one round of warm-up. model2vec runs with its
defaults, on all cores; StudentEmbedder on one thread. Beside texts per second of the clock stand
texts per second of CPU time, which other work on the machine disturbs less. Not measured: gRPC,
protobuf, waiting.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.tokenizers.nano import NanoTokenizer

BATCHES = (1, 32, 256, 1024)
SECONDS = 0.3  # of one round of one side, about
LAYOUT = """STILLROOM_BENCH_DATA must name a folder with this file:
  banking77/train.csv   with a column `text`, one text a row"""

Encode = Callable[[list[str]], object]


class Rate(NamedTuple):
    """Texts a second, by the clock and by the CPU time of the process."""

    wall: float
    cpu: float


def read_texts() -> list[str]:
    folder = os.environ.get("STILLROOM_BENCH_DATA")
    file = Path(folder or ".") / "banking77" / "train.csv"
    if not folder or not file.is_file():
        sys.exit(LAYOUT)
    with file.open(encoding="utf-8", newline="") as stream:
        return [row["text"] for row in csv.DictReader(stream)]


def compare(
    sides: dict[str, Encode], texts: Sequence[str], batch: int, rounds: int
) -> dict[str, Rate]:
    """Rates of each side at ``batch`` texts a call."""
    batches = [list(texts[i : i + batch]) for i in range(0, len(texts) - batch + 1, batch)]
    walls: dict[str, list[float]] = {name: [] for name in sides}
    cpus: dict[str, list[float]] = {name: [] for name in sides}
    calls = {name: _calls(encode, batches) for name, encode in sides.items()}
    for _ in range(rounds + 1):
        for name, encode in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for index in range(calls[name]):
                encode(batches[index % len(batches)])
            cpus[name].append((time.process_time() - cpu) / calls[name])
            walls[name].append((time.perf_counter() - wall) / calls[name])
    return {name: Rate(_rate(batch, walls[name]), _rate(batch, cpus[name])) for name in sides}


def _rate(batch: int, spans: list[float]) -> float:
    return batch / statistics.median(spans[1:])


def _calls(encode: Encode, batches: list[list[str]]) -> int:
    """How many calls take about ``SECONDS``."""
    start = time.perf_counter()
    for batch in batches[:3]:
        encode(batch)
    once = (time.perf_counter() - start) / min(3, len(batches))
    return max(3, int(SECONDS / once))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    texts = read_texts()

    from model2vec import StaticModel

    theirs = StaticModel.from_pretrained(str(arguments.student))
    embedders = {"gather": StudentEmbedder.load(arguments.student, engine="gather")}
    if (arguments.student / "onnx" / "model.onnx").is_file():
        embedders["onnxruntime"] = StudentEmbedder.load(arguments.student, engine="onnxruntime")
    sides: dict[str, Encode] = {
        "model2vec": theirs.encode,
        **{name: embedder.embed for name, embedder in embedders.items()},
    }
    if embedders["gather"].info.tokenizer == NanoTokenizer.name:
        plain = StudentEmbedder.load(arguments.student, engine="gather", tokenizer="huggingface")
        sides["gather, huggingface"] = plain.embed
    rates = {batch: compare(sides, texts, batch, arguments.rounds) for batch in BATCHES}
    if arguments.json:
        plainly = {n: {k: r._asdict() for k, r in row.items()} for n, row in rates.items()}
        report = {"unit": "texts/s", "tokenizer": _tokenizer(embedders), "rates": plainly}
        print(json.dumps(report))
        return
    print(f"median of {arguments.rounds}; tokenizer {_tokenizer(embedders)}")
    for measure in Rate._fields:
        print(f"\ntexts a second, {measure}")
        print("texts a call " + "".join(f"{name:>22}" for name in sides))
        for batch, row in rates.items():
            base = getattr(row["model2vec"], measure)
            found = [getattr(rate, measure) for rate in row.values()]
            cells = [f"{rate:,.0f} ({rate / base:.1f}x)" for rate in found]
            print(f"{batch:>12} " + "".join(f"{cell:>22}" for cell in cells))


def _tokenizer(embedders: dict[str, StudentEmbedder]) -> str:
    info = embedders["gather"].info
    return f"{info.tokenizer} ({info.tokenizer_reason})"


if __name__ == "__main__":
    main()
