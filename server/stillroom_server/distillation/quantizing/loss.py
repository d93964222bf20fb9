"""How far a quantized student's vectors are from those of the student it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillroom_server.distillation.export.reference import StudentArrays, encode, load_tokenizer

_BLOCK = 64  # texts between two looks at the clock


def measure(
    source: Path, made: Path, texts: Sequence[str], between: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """``mean_cosine`` and ``min_cosine`` over the ``texts`` that have a vector, and how many those
    are; None where there is none. By the float64 computation, so the loss is the storage's alone.
    """
    arrays = [StudentArrays.read(folder) for folder in (source, made)]
    tokenizer = load_tokenizer(arrays[0].tokenizer_json)
    cosines: list[float] = []
    for start in range(0, len(texts), _BLOCK):
        between()
        ids = encode(tokenizer, texts[start : start + _BLOCK], arrays[0].max_tokens)
        one, other = (student.vectors(ids) for student in arrays)
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        some = np.linalg.norm(one, axis=1) > 0
        products = np.einsum("nd,nd->n", one, other) / np.where(lengths > 0, lengths, 1.0)
        cosines += products[some].tolist()
    return {
        "texts": len(cosines),
        "mean_cosine": float(np.mean(cosines)) if cosines else None,
        "min_cosine": min(cosines, default=None),
    }
