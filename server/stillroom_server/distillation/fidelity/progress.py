"""Progress and cancellation of the phase ``report``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.context import Context
from stillroom_server.distillation.fidelity.speed import Student
from stillroom_server.distillation.fidelity.vectors import Float32, checked

PHASE = "report"
# Of one batch, so that a cancellation waits for no more even where a model is slow.
_TEXTS = 32
_CHARACTERS = 16_384
_LONGEST = 2048  # characters of a text that count: models cut what is longer

EncodeTeacher = Callable[[Sequence[str]], NDArray[np.float32]]
"""n texts -> the teacher's vectors float32 (n, h), by all of its modules, as for sentences."""


class Meter:
    """Counts texts through either model, of ``total``."""

    def __init__(self, context: Context | None, total: int) -> None:
        self._context = context
        self._total = total
        self._done = 0
        self.advance(0)

    def check(self) -> None:
        """Lets a cancellation through."""
        if self._context is not None:
            self._context.check_cancelled()

    def advance(self, texts: int) -> None:
        self._done += texts
        if self._context is not None:
            self._context.progress(PHASE, self._done, self._total, unit="texts")
            self._context.check_cancelled()

    def by_student(self, student: Student, texts: Sequence[str]) -> Float32:
        """The student's vectors (n, d) of n texts."""
        return self._by(lambda batch: student.embed(batch).vectors, texts, "student")

    def by_teacher(self, encode: EncodeTeacher, texts: Sequence[str]) -> Float32:
        """The teacher's vectors (n, h) of n texts."""
        return self._by(encode, texts, "teacher")

    def _by(self, encode: EncodeTeacher, texts: Sequence[str], whose: str) -> Float32:
        """Each text with others of about its length, which models that pad do fastest."""
        out: Float32 | None = None
        for rows in _batches(texts):
            found = checked(encode([texts[i] for i in rows]), len(rows), whose)
            if out is None:
                out = np.empty((len(texts), found.shape[1]), dtype=np.float32)
            out[rows] = found
            self.advance(len(rows))
        assert out is not None, "no texts"
        return out


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Row numbers of each batch, longest texts first."""
    batch: list[int] = []
    characters = 0
    for row in sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True):
        length = min(len(texts[row]), _LONGEST)
        if batch and (len(batch) == _TEXTS or characters + length > _CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(row)
        characters += length
    if batch:
        yield batch
