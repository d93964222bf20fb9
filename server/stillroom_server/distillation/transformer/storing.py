"""In which type a student is stored, by what each costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer
from stillroom_server.distillation.transformer.batches import padded
from stillroom_server.distillation.transformer.rounding import rounded
from stillroom_server.distillation.transformer.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

    from stillroom_server.distillation.transformer.network import StudentNetwork

# Smallest first. Least mean cosine to the float32 student: below 0.999 neighbors begin to change
# places in rankings; float16 is far above its own unless weights leave its range.
LEAST_COSINE = {"int8": 0.999, "float16": 0.9999, "float32": 1.0}
TEXTS = 512
_PIECE = 32


@dataclass(frozen=True)
class Stored:
    """``network``: with weights as ``element_type`` holds them; ``cosines``: the mean cosine of
    each type tried to the float32 student."""

    network: StudentNetwork
    element_type: str
    cosines: dict[str, float]


def choose(
    network: StudentNetwork,
    tokenizer: TeacherTokenizer,
    texts: Sequence[str],
    asked: str | None,
    workers: Workers,
) -> Stored:
    """The student as ``asked``, or as the smallest type whose cosine allows it."""
    from stillroom_registry.errors import FailedPrecondition

    rows = [row or [0] for row in tokenizer.encode(list(texts[:TEXTS]))]
    rows.sort(key=len)
    exact = _vectors(network, rows, workers)
    cosines: dict[str, float] = {}
    for element_type, least in LEAST_COSINE.items():
        if asked not in (None, element_type):
            continue
        try:
            candidate = rounded(network, element_type)
        except FailedPrecondition:
            if asked is not None:
                raise
            continue
        cosines[element_type] = round(_mean_cosine(exact, _vectors(candidate, rows, workers)), 7)
        if asked is not None or cosines[element_type] >= least:
            return Stored(candidate, element_type, cosines)
    return Stored(network, "float32", cosines)


def _vectors(network: StudentNetwork, rows: Sequence[list[int]], workers: Workers) -> Tensor:
    import torch

    starts = range(0, len(rows), _PIECE)
    pieces: list[Callable[[], Any]] = [
        partial(_run, network, rows[start : start + _PIECE]) for start in starts
    ]
    return torch.cat(workers.run(pieces))


def _run(network: StudentNetwork, rows: Sequence[list[int]]) -> Tensor:
    import torch

    with torch.no_grad():
        vectors: Tensor = network(*map(torch.from_numpy, padded(rows)))
        return vectors


def _mean_cosine(one: Tensor, other: Tensor) -> float:
    from torch.nn.functional import cosine_similarity

    return min(1.0, float(cosine_similarity(one.double(), other.double(), dim=1).mean()))
