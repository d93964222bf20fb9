"""sentence-transformers' ``encode`` in float32: ``... FOLDER TEXTS``; TEXTS is a JSON list. Asked

``{"count": n, "batch": b}`` it encodes n texts, b a call (null: all it has a call), with the
library's own default of texts a forward pass, and answers the seconds;

``{"save": path, "count": n}`` it writes the vectors of the first n texts there (npy), normalized.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.worker import answer


def main(folder: str, texts: list[str]) -> None:
    """Loads the teacher and answers."""
    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})

    def handle(request: dict[str, Any]) -> float:
        if "save" in request:
            vectors = model.encode(texts[: request["count"]], normalize_embeddings=True)
            np.save(request["save"], vectors)
            return 0.0
        size = request["batch"] or len(texts)
        given = cycle(texts)
        started = time.perf_counter()
        for _ in range(max(1, request["count"] // size)):
            model.encode(list(islice(given, size)))
        return time.perf_counter() - started

    answer(handle)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
