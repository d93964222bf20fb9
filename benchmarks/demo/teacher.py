"""The teacher's side of the demo, in a process of its own, because torch is heavy.

    python -m benchmarks.demo.teacher FOLDER VECTORS SECONDS

Writes the vectors of the demo's texts and then of its queries to VECTORS (npy), encodes the texts
for about SECONDS, and prints how many that were, the exact seconds and the compute type as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.demo.texts import QUERIES, TEXTS
from stillroom_server.distillation.teacher import Teacher


def main(folder: Path, vectors: Path, seconds: float) -> None:
    """Loads, encodes once, and again until the time is over."""
    teacher = Teacher.load(folder)
    np.save(vectors, teacher.encode(TEXTS + QUERIES))
    texts = 0
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        texts += len(teacher.encode(TEXTS * 4))
    print(json.dumps({"texts": texts, "seconds": spent, "compute_type": teacher.dtype}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
