"""model2vec's ``encode``: ``... STUDENT TEXTS (one | many)``; TEXTS is a JSON list. Asked
``{"count": n, "batch": b}`` it encodes n texts, b a call (null: all it has a call) and answers the
seconds. ``many`` lets it start processes of its own, as it does by default for long lists.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from model2vec import StaticModel

from benchmarks.worker import answer


def main(student: str, texts: list[str], many: bool) -> None:
    """Loads the student and answers."""
    model = StaticModel.from_pretrained(student)

    def handle(request: dict[str, Any]) -> float:
        size = request["batch"] or len(texts)
        batches = cycle([texts[i : i + size] for i in range(0, len(texts) - size + 1, size)])
        started = time.perf_counter()
        for _ in range(request["count"] // size):
            model.encode(
                next(batches), use_multiprocessing=many, multiprocessing_threshold=size - 1
            )
        return time.perf_counter() - started

    answer(handle)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), sys.argv[3] == "many")
