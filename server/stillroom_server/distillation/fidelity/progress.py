"""Progress and cancellation of the phase ``report``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.speed import Student
from stillroom_server.distillation.fidelity.vectors import Float32, checked

PHASE = "report"
_STUDENT_BATCH = 256
_TEACHER_BATCH = 32

EncodeTeacher = Callable[[Sequence[str]], NDArray[np.float32]]
"""n texts -> the teacher's vectors float32 (n, h), by all of its modules, as for sentences."""


class Context(Protocol):
    """Whoever waits for the report; ``OperationContext`` is one."""

    def progress(
        self, phase: str, done: int, total: int, *, unit: str, message: str = ""
    ) -> None: ...

    def check_cancelled(self) -> None: ...


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
        parts = []
        for start in range(0, len(texts), _STUDENT_BATCH):
            batch = texts[start : start + _STUDENT_BATCH]
            parts.append(checked(student.embed(batch).vectors, len(batch), "student"))
            self.advance(len(batch))
        return np.concatenate(parts)

    def by_teacher(self, encode: EncodeTeacher, texts: Sequence[str]) -> Float32:
        """The teacher's vectors (n, h) of n texts, encoded with others of about their length."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        out: Float32 | None = None
        for start in range(0, len(order), _TEACHER_BATCH):
            rows = order[start : start + _TEACHER_BATCH]
            found = checked(encode([texts[i] for i in rows]), len(rows), "teacher")
            if out is None:
                out = np.empty((len(texts), found.shape[1]), dtype=np.float32)
            out[rows] = found
            self.advance(len(rows))
        assert out is not None, "no texts"
        return out
