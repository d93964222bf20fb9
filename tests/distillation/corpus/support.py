"""What the tests of corpora share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stillroom_server.distillation.corpus import Corpus, CorpusOptions, ingest
from stillroom_server.security.paths import AllowedRoots


class Recorder:
    """A context that remembers what it was told, and raises when it was asked to."""

    def __init__(self, on_check: Callable[[int], None] = lambda number: None) -> None:
        self.told: list[tuple[str, int, int, str]] = []
        self.checks = 0
        self._on_check = on_check

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.told.append((phase, done, total, unit))

    def check_cancelled(self) -> None:
        self.checks += 1
        self._on_check(self.checks)


def from_file(path: Path, folder: Path, context: Recorder | None = None, **options: Any) -> Corpus:
    return ingest(
        {"path": str(path)},
        folder,
        CorpusOptions(**options),
        context or Recorder(),
        roots=AllowedRoots([path.parent]),
    )


def from_bytes(data: bytes, folder: Path, name: str = "corpus.txt", **options: Any) -> Corpus:
    path = folder.parent / name
    path.write_bytes(data)
    return from_file(path, folder, **options)


def from_texts(texts: Sequence[str], folder: Path, **options: Any) -> Corpus:
    return ingest({"texts": list(texts)}, folder, CorpusOptions(**options), Recorder())


def texts_of(corpus: Corpus) -> tuple[list[str], list[str]]:
    """The texts to train on and those held out."""
    return (
        [text for shard in corpus.training for text in shard.texts()],
        [text for shard in corpus.held_out for text in shard.texts()],
    )


def all_texts(corpus: Corpus) -> list[str]:
    training, held_out = texts_of(corpus)
    return sorted(training + held_out)
