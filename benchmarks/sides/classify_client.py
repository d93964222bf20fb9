"""The Python client: ``... TEXTS CLASSIFIER STUDENT ADDRESS``; TEXTS is a JSON list. Asked

``{"count": n, "batch": b}`` it classifies n texts over ClassifyStream, b a message, and answers the
seconds;

``{"calls": n, "model": m}`` it classifies (m: the classifier) or embeds (m: the student) one text n
times by unary and answers the seconds of each.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.worker import answer
from stillroom import Client


class Side:
    """A connection, and what to do over it."""

    def __init__(self, texts: list[str], classifier: str, student: str, address: str) -> None:
        self._texts = texts
        self._classifier = classifier
        self._student = student
        self._client = Client(address)

    def handle(self, request: dict[str, Any]) -> float | list[float]:
        """Answers a request."""
        if "count" in request:
            return self._stream(request["count"], request["batch"])
        call = self._client.embed if request["model"] == self._student else self._client.classify
        return [self._one(call, request["model"]) for _ in range(request["calls"])]

    def _one(self, call: Any, model: str) -> float:
        started = time.perf_counter()
        call(self._texts[:1], model=model)
        return time.perf_counter() - started

    def _stream(self, count: int, batch: int) -> float:
        texts = islice(cycle(self._texts), count)
        rows = 0
        started = time.perf_counter()
        for part in self._client.classify_stream(texts, model=self._classifier, batch_size=batch):
            rows += len(part.labels)
        seconds = time.perf_counter() - started
        if rows != count:
            raise RuntimeError(f"{rows} of {count} texts were answered")
        return seconds


if __name__ == "__main__":
    answer(Side(json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:5]).handle)
