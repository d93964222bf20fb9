"""Trainings on a small student, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from inference.students import WORDS, write_student

from stillroom_server.classification.data.collecting import Examples
from stillroom_server.classification.data.prepared import Prepared, prepare
from stillroom_server.classification.features.encode import encode_texts
from stillroom_server.classification.features.encoded import Encoded, Encoder
from stillroom_server.classification.features.load import load_encoder
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.classification.splits import split
from stillroom_server.classification.training.train import Trained, train
from stillroom_server.distillation.context import Silent
from stillroom_server.operations.checkpoints import Checkpoints

LABELS = ("order", "reverse", "other")
FIRST, SECOND = WORDS[12:18], WORDS[18:24]


class Killed(BaseException):
    """As a SIGKILL: nothing is cleaned up after it."""


class Clock:
    """Advances by ``step`` seconds each time it is asked."""

    def __init__(self, step: float = 0.0) -> None:
        self.step = step
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Context(Silent):
    """``dies_at`` the given look at cancellation (from 1)."""

    def __init__(self, dies_at: int = 0) -> None:
        self.looks = 0
        self.dies_at = dies_at
        self.told: list[tuple[str, int, int]] = []

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        assert 0 <= done <= total
        self.told.append((phase, done, total))

    def check_cancelled(self) -> None:
        self.looks += 1
        if self.looks == self.dies_at:
            raise Killed


def texts(count: int, seed: int = 0) -> list[tuple[str, tuple[str, ...]]]:
    """Two labels that differ by the order of words alone, and one that has words of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        label = int(rng.integers(3))
        first, second = str(rng.choice(FIRST)), str(rng.choice(SECOND))
        filler = " ".join(rng.choice(WORDS[24:], 3))
        if label == 2:
            first = second = "漢 é"
        pair = f"{first} {second}" if label != 1 else f"{second} {first}"
        found.append((f"{filler} {pair}", (LABELS[label],)))
    return found


def several(count: int, seed: int = 0) -> list[tuple[str, tuple[str, ...]]]:
    """Each word of two groups is there or not, and with it its label."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        one, two = rng.random(2) < 0.4
        words = [str(rng.choice(WORDS[24:]))]
        words += [FIRST[0]] * bool(one) + [SECOND[0]] * bool(two)
        labels = ("one",) * bool(one) + ("two",) * bool(two)
        found.append((" ".join(words), labels))
    return found


def examples(given: list[tuple[str, tuple[str, ...]]]) -> Examples:
    return Examples([text for text, _ in given], [labels for _, labels in given], "sha256:0")


def run(
    folder: Path,
    given: list[tuple[str, tuple[str, ...]]],
    options: dict[str, Any] | None = None,
    *,
    validation: list[tuple[str, tuple[str, ...]]] | None = None,
    scheme: dict[str, Any] | None = None,
    context: Context | None = None,
    clock: Callable[[], float] | None = None,
) -> tuple[Trained, Prepared, Encoder]:
    """Trains on a student in ``folder``, which also keeps the checkpoints."""
    student = folder / "student"
    if not student.exists():
        write_student(student)
    asked = ClassifierOptions.from_json(options or {})
    encoder = load_encoder(student, "static", asked.encoding)
    prepared = prepare(examples(given), None if validation is None else examples(validation), asked)
    encoded = encode_texts(encoder, prepared.texts, Silent())
    other: Encoded | None = None
    if prepared.validation_texts is not None:
        other = encode_texts(encoder, prepared.validation_texts, Silent())
    parts = None if other is not None else split(prepared.targets, scheme, asked.seed)
    trained = train(
        prepared,
        parts,
        encoder,
        encoded,
        other,
        asked,
        context or Context(),
        Checkpoints(folder / "checkpoints"),
        clock=clock or Clock(),
    )
    return trained, prepared, encoder


def same(one: Trained, other: Trained) -> bool:
    """Whether they are the same bytes."""
    pairs = [(one.scores, other.scores), (one.rows, other.rows)]
    for layer, twin in zip(one.head.layers, other.head.layers, strict=True):
        pairs += zip(layer, twin, strict=True)
    if one.head.ngrams is not None and other.head.ngrams is not None:
        pairs.append((one.head.ngrams.rows, other.head.ngrams.rows))
        pairs.append((one.head.ngrams.slots, other.head.ngrams.slots))
    for name in ("table", "weights"):
        a, b = getattr(one, name), getattr(other, name)
        if (a is None) != (b is None):
            return False
        if a is not None:
            pairs.append((a, b))
    return (
        all(a.tobytes() == b.tobytes() for a, b in pairs)
        and one.options == other.options
        and one.temperature == other.temperature
        and one.thresholds == other.thresholds
        and one.abstention_threshold == other.abstention_threshold
    )
