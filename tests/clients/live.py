"""A served folder of models for clients in other languages, and what their tests compare with."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from inference.students import WORDS, naive_vector, write_student

from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.inference.embedder import StudentEmbedder

SERVE = "import sys; from stillroom_server.app import main; sys.exit(main(sys.argv[1:]))"
TOKEN = "a-token-of-forty-characters-for-the-tests"
# 4,096 vectors of so many floats exceed the 4 MiB that gRPC takes by default.
DIMENSIONS = 264
TEXTS = [
    "my card has not arrived yet",
    "Was I charged twice for the top up?",
    "é 漢 — naïve, Größe",
    "transfer 🙂 failed",
    "zzz " * 700,
    *(" ".join(WORDS[i : i + 5]) for i in range(12)),
]


@dataclass(frozen=True)
class Live:
    """``environment`` is what a client's tests read."""

    environment: dict[str, str]


@contextmanager
def live(scratch: Path, teacher: Path) -> Iterator[Live]:
    """A server process with the student ``s`` and the teacher ``t``, behind a token."""
    student = write_student(scratch / "student", dimensions=DIMENSIONS, weights=True)
    registry = Registry.open(scratch / "data")
    registry.publish("s", ModelKind.STUDENT, student)
    registry.publish("t", ModelKind.TEACHER, teacher)
    registry.close()
    reference = scratch / "reference.json"
    reference.write_text(json.dumps(_reference(student)), encoding="utf-8")
    tokens = scratch / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"tests {TOKEN}\n", encoding="utf-8")
    with _process(scratch / "data", "--token-file", str(tokens)) as address:
        yield Live(
            {
                "STILLROOM_TARGET": address,
                "STILLROOM_TOKEN": TOKEN,
                "STILLROOM_REFERENCE": str(reference),
                "STILLROOM_TEACHER": "t",
            }
        )


def _reference(student: Path) -> dict[str, object]:
    """Vectors of ``TEXTS`` as Python computes them without any server; little-endian float32."""
    embedder = StudentEmbedder.load(student, engine="gather", tokenizer="huggingface")
    vectors = embedder.embed(TEXTS).vectors
    expected = np.array([naive_vector(student, text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    return {
        "model": "s",
        "texts": TEXTS,
        "dimensions": DIMENSIONS,
        "vectors": base64.b64encode(vectors.astype("<f4").tobytes()).decode(),
    }


@contextmanager
def _process(data: Path, *flags: str) -> Iterator[str]:
    engines = ["--student-engine", "gather", "--tokenizer-engine", "huggingface"]
    anywhere = ["--address", "127.0.0.1:0", "--metrics-address", ""]
    command = [sys.executable, "-c", SERVE, "--data-dir", str(data), *anywhere, *engines, *flags]
    log = data.with_suffix(".log")
    with log.open("wb") as errors:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    with running:
        assert running.stdout is not None
        try:
            line = running.stdout.readline()
            assert line.startswith("stillroom ready "), log.read_text()
            yield line.split("address=")[1].split()[0]
        finally:
            running.terminate()
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
