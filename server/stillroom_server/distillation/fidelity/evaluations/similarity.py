"""Pairs of sentences with a similarity that people gave them (semantic textual similarity)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.evaluations.tables import (
    MOST_ROWS,
    Refusal,
    column,
    rows,
)
from stillroom_server.distillation.fidelity.ranks import spearman
from stillroom_server.distillation.fidelity.vectors import Float32, row_cosines, unit

_SCORE = ("score", "similarity", "gold", "label")
_FIRST = ("sentence1", "sentence_1", "text1", "text_1", "first")
_SECOND = ("sentence2", "sentence_2", "text2", "text_2", "second")


@dataclass(frozen=True)
class SimilarityData:
    """p pairs: ``first`` and ``second`` sentences, ``scores`` float64 (p,)."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]


def read_similarity(path: Path, refuse: Refusal) -> SimilarityData:
    """Reads rows of score, sentence, sentence; a header may name them (score, sentence1,
    sentence2), in any order and among others. Raises InvalidArgument with the line."""
    first: list[str] = []
    second: list[str] = []
    scores: list[float] = []
    columns, width = (0, 1, 2), 3
    for number, (line, cells) in enumerate(rows(path, refuse)):
        if number == 0:
            named = tuple(column(cells, names) for names in (_SCORE, _FIRST, _SECOND))
            if all(at is not None for at in named):
                columns, width = (named[0] or 0, named[1] or 0, named[2] or 0), len(cells)
                continue
        if len(cells) != width:
            refuse(f"{len(cells)} columns instead of {width}: score, sentence, sentence", line)
        score, one, other = (cells[at] for at in columns)
        try:
            scores.append(float(score))
        except ValueError:
            refuse(f"the score {score[:40]!r} is not a number", line)
        if not math.isfinite(scores[-1]):
            refuse(f"the score {score[:40]!r} is not finite", line)
        if not one.strip() or not other.strip():
            refuse("a sentence is blank", line)
        first.append(one)
        second.append(other)
    if len(scores) > MOST_ROWS:
        refuse(f"more than {MOST_ROWS:,} pairs; give a sample of them")
    if len(scores) < 3:
        refuse(f"{len(scores)} pairs; a correlation needs 3 at least")
    if min(scores) == max(scores):
        refuse("all scores are the same, which correlates with nothing")
    return SimilarityData(first, second, np.array(scores))


def score_similarity(scores: NDArray[np.float64], first: Float32, second: Float32) -> float | None:
    """Vectors (p, d) of both sides -> Spearman's correlation of their cosines with ``scores``;
    None where all cosines are the same."""
    return spearman(scores, row_cosines(unit(first), unit(second)))
