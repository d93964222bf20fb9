"""How fast a student embeds, as it is served. Clock figures: never for reproducible files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SECONDS = 0.6
_BATCH = 32


class Embedded(Protocol):
    """What embedding n texts gives: ``vectors`` float32 (n, d), ``tokens`` int (n,)."""

    @property
    def vectors(self) -> NDArray[np.float32]: ...

    @property
    def tokens(self) -> NDArray[np.int32]: ...


class Student(Protocol):
    """What serves; ``inference.embedder.StudentEmbedder`` is one."""

    def embed(self, texts: Sequence[str], /) -> Embedded: ...


def student_speed(
    student: Student,
    texts: Sequence[str],
    clock: Callable[[], float],
    between: Callable[[], None],
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """``student_tokens_per_second`` and ``student_texts_per_second`` over batches of 32 of
    ``texts``, again and again until ``seconds`` have gone; at least one batch. None each where the
    clock did not move."""
    done = tokens = batch = 0
    spent = 0.0
    batches = [texts[i : i + _BATCH] for i in range(0, len(texts), _BATCH)]
    while batches and (not done or spent < seconds):
        start = clock()
        result = student.embed(batches[batch % len(batches)])
        spent += clock() - start
        done += len(result.tokens)
        tokens += int(result.tokens.sum())
        batch += 1
        between()
        if spent <= 0.0 and batch >= len(batches):
            break
    return {
        "student_tokens_per_second": round(tokens / spent, 1) if spent > 0.0 else None,
        "student_texts_per_second": round(done / spent, 1) if spent > 0.0 else None,
    }
