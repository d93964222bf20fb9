"""A student or classifier as it serves: the very code, at its own batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stillroom_server.cost.calibration.probes.stopwatch import Allowance, Stopwatch
from stillroom_server.cost.calibration.rates import Line, fit
from stillroom_server.distillation.fidelity.samples import built_in_texts
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.embedders import load_embedder

_CALLS = (1, 32, 256)  # texts


def probe(
    folder: Path, verdicts: Path | None, watch: Stopwatch, allowed: Allowance
) -> Iterator[Line]:
    """The lines of ``rates.STUDENT`` for the student in ``folder``; those of tokens alone where a
    table is what serves. ``verdicts`` is where serving keeps those of its checks."""
    loaded = []
    seconds = watch.once(lambda: loaded.append(load_embedder(folder, cache=verdicts)))
    embedder = loaded[0]
    yield fit("student.load", [(_size(folder), seconds)])
    texts = _texts()
    counts: dict[int, int] = {}

    def embed(size: int) -> Callable[[], object]:
        def call() -> None:
            counts[size] = int(embedder.embed(texts[:size]).tokens.sum())

        return call

    points = watch.points(_CALLS, embed, allowed.share(0.6))
    yield fit("student.embed", _by_tokens(points, counts))
    if not isinstance(embedder, StudentEmbedder):
        return
    tokenizer = embedder.tokenizer

    def tokenize(size: int) -> Callable[[], object]:
        def call() -> None:
            counts[size] = len(tokenizer.encode(texts[:size])[0])

        return call

    points = watch.points(_CALLS, tokenize, allowed.share(0.8))
    yield fit("student.tokenize", _by_tokens(points, counts))


def probe_classifier(
    folder: Path, verdicts: Path | None, watch: Stopwatch, allowed: Allowance
) -> Iterator[Line]:
    """The lines of ``rates.CLASSIFIER``. Of one that asks a teacher for vectors only the load."""
    loaded: list[Classifier] = []
    seconds = watch.once(lambda: loaded.append(Classifier.load(folder, cache=verdicts)))
    classifier = loaded[0]
    yield fit("student.load", [(_size(folder), seconds)])
    if classifier.needs_teacher:
        return
    texts = _texts()
    counts: dict[int, int] = {}

    def classify(size: int) -> Callable[[], object]:
        def call() -> None:
            counts[size] = int(classifier.classify(texts[:size]).tokens.sum())

        return call

    points = watch.points(_CALLS, classify, allowed.share(0.8))
    yield fit("classifier.classify", _by_tokens(points, counts))


def _texts() -> list[str]:
    texts = built_in_texts()
    return list(texts[: _CALLS[-1]])


def _by_tokens(
    points: Sequence[tuple[int, float]], counts: dict[int, int]
) -> list[tuple[float, float]]:
    """Seconds by tokens instead of texts."""
    return [(float(max(1, counts[size])), seconds) for size, seconds in points]


def _size(folder: Path) -> float:
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) or 1)
