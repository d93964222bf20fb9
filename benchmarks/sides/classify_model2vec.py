"""model2vec's classifier: ``... STUDENT``. Asked

``{"train": file, "test": file}``, JSON lists of texts and labels, it fits one and answers
``{"seconds", "accuracy"}``;

``{"count": n, "batch": b}`` it predicts n texts of the last test file, b a call (null: all it has a
call) and answers the seconds.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from model2vec.train import StaticModelForClassification

from benchmarks.worker import answer


class Side:
    """The classifier that was fitted last."""

    def __init__(self, student: str) -> None:
        self._student = student
        self._model: Any = None
        self._texts: list[str] = []

    def handle(self, request: dict[str, Any]) -> Any:
        """Answers a request."""
        if "train" in request:
            return self._fit(request["train"], request["test"])
        size = request["batch"] or len(self._texts)
        starts = range(0, len(self._texts) - size + 1, size)
        batches = cycle([self._texts[start : start + size] for start in starts])
        started = time.perf_counter()
        for _ in range(request["count"] // size):
            self._model.predict(next(batches))
        return time.perf_counter() - started

    def _fit(self, train: str, test: str) -> dict[str, float]:
        texts, labels = json.loads(Path(train).read_text())
        started = time.perf_counter()
        self._model = StaticModelForClassification.from_pretrained(path=self._student)
        self._model.fit(texts, labels)
        seconds = time.perf_counter() - started
        self._texts, wanted = json.loads(Path(test).read_text())
        found = self._model.predict(self._texts)
        right = sum(str(a) == b for a, b in zip(found, wanted, strict=True))
        return {"seconds": seconds, "accuracy": 100.0 * right / len(wanted)}


if __name__ == "__main__":
    answer(Side(sys.argv[1]).handle)
