"""One writer of the benchmark of the registry: publishes over and over until it is told to stop."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.worker import answer
from stillroom_registry.registry import ModelKind, Registry

MODEL = "written-by-all"


class Writer:
    """Publishes three small files, one of them always the same, from a thread of its own."""

    def __init__(self, data_dir: Path, seed: int, folder: Path) -> None:
        self._registry = Registry.open(data_dir)
        self._choose = random.Random(seed)
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._versions: list[int] = []
        self._errors: list[str] = []
        self._seconds = 0.0

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["what"] == "start":
            self._thread.start()
            return {}
        self._stop.set()
        self._thread.join()
        self._registry.close()
        return {"versions": self._versions, "errors": self._errors, "seconds": self._seconds}

    def _publish(self) -> None:
        start = time.perf_counter()
        (self._folder / "tokenizer.json").write_bytes(bytes(50_000))
        while not self._stop.is_set():
            for name in ("config.json", "model.safetensors"):
                (self._folder / name).write_bytes(self._choose.randbytes(20_000))
            try:
                version = self._registry.publish(MODEL, ModelKind.STUDENT, self._folder)
                self._versions.append(version.version)
            except Exception as error:
                self._errors.append(f"{type(error).__name__}: {error}")
        self._seconds = time.perf_counter() - start


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as own:
        answer(Writer(Path(sys.argv[1]), int(sys.argv[2]), Path(own)).handle)
