"""Texts a second of the student, through the server, and of its teacher, without one."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.demo.settings import PACKAGE, STUDENT, check
from benchmarks.demo.texts import TEXTS
from benchmarks.serving import environment, tail
from stillroom import Client, packages

BATCH = 256
_SECONDS = 3.0
_WARM_UP_TEXTS = 8192


@dataclass(frozen=True)
class TeacherSide:
    """What the teacher's own process found: vectors of the texts and of the queries, texts a
    second."""

    texts: NDArray[np.float32]
    queries: NDArray[np.float32]
    rate: float
    compute_type: str


def teacher(workspace: Path) -> TeacherSide:
    """Runs the teacher's process. Raises DemoFailedError with the end of what it said."""
    folder, vectors = packages.model_in_package(PACKAGE), workspace / "teacher.npy"
    log = workspace / "teacher.log"
    command = [sys.executable, "-m", "benchmarks.demo.teacher"]
    with log.open("wb") as errors:
        done = subprocess.run(
            [*command, str(folder), str(vectors), str(_SECONDS)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(os.environ),
            start_new_session=True,  # an interrupt is for the demo, which then ends this
            check=False,
        )
    check(done.returncode == 0, f"the teacher's process failed ({done.returncode}){tail(log)}")
    said = json.loads(done.stdout)
    rows = np.load(vectors)
    rate = said["texts"] / said["seconds"]
    return TeacherSide(rows[: len(TEXTS)], rows[len(TEXTS) :], rate, said["compute_type"])


def stream_rate(client: Client) -> float:
    """Texts a second of the student, ``BATCH`` a message, after a warm-up."""
    _stream(client, _WARM_UP_TEXTS)
    texts = int(_SECONDS * _WARM_UP_TEXTS / _stream(client, _WARM_UP_TEXTS))
    return texts / _stream(client, texts)


def _stream(client: Client, count: int) -> float:
    """Seconds to embed so many texts."""
    texts = itertools.islice(itertools.cycle(TEXTS), count)
    started = time.perf_counter()
    batches = client.embed_stream(texts, model=STUDENT, batch_size=BATCH)
    rows = sum(len(batch.vectors) for batch in batches)
    check(rows == count, f"{rows} of {count} texts were answered")
    return time.perf_counter() - started
