"""What the student is to say: the teacher's sentence vectors along their principal axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.tuning.threads import eigh, matmul, one_thread

PRIOR_TEXTS = 256
"""How many texts the vocabulary's own vectors count as. They span directions that a small corpus
does not, and decide little in a large one."""

_BLOCK = 4096  # rows taken to float64 at a time; bounds memory
_SAME = 1e-9  # share of the moment off one direction, below which all vectors are the same


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h) -> the same directions, of length one; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0.0, lengths, 1.0), dtype=np.float32)


def moment_of(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, h) -> the second moment (h, h) of the rows' directions, summed.

    About the origin, not the mean: similarities are cosines about the origin.
    """
    import torch

    moment = torch.zeros((vectors.shape[1],) * 2, dtype=torch.float64)
    for start in range(0, len(vectors), _BLOCK):
        block = torch.from_numpy(unit(np.asarray(vectors[start : start + _BLOCK]))).double()
        with one_thread():
            moment += block.T @ block
    result: NDArray[np.float64] = moment.numpy()
    return result


def leading_axes(
    sentences: NDArray[np.float64], tokens: NDArray[np.float64], asked: int | float | None
) -> tuple[NDArray[np.float32], float]:
    """Moments (h, h) of the corpus's and of the vocabulary's vectors -> the axes (h, d) float32 by
    falling weight, and the share of the corpus's moment on them.

    ``asked``: d itself, the share to reach, or None for all h. By this order the first k dimensions
    are the best k there are (Eckart and Young, 1936), so that prefixes are good before any
    training. An axis points to where its largest component is positive. Raises FailedPrecondition
    (TEACHER_CONSTANT) when the corpus's vectors share one direction: nothing tells texts apart.
    """
    total = float(np.trace(sentences))
    weights, _ = eigh(sentences)
    if not total > 0.0 or (len(weights) > 1 and weights[:-1].sum() <= _SAME * total):
        raise FailedPrecondition(
            "the teacher gives all texts of the corpus the same vector; choose another teacher",
            reason="TEACHER_CONSTANT",
            field="teacher",
        )
    prior = tokens * (PRIOR_TEXTS / max(float(np.trace(tokens)), 1e-30))
    _, axes = eigh(sentences + prior)
    axes = axes[:, ::-1]
    reached = np.cumsum(np.einsum("hd,hd->d", axes, sentences @ axes)) / total
    if isinstance(asked, float):
        kept = min(int(np.searchsorted(reached, asked)) + 1, len(reached))
    else:
        kept = len(reached) if asked is None else asked
    axes = axes[:, :kept]
    largest = np.abs(axes).argmax(axis=0)
    signs = np.where(axes[largest, np.arange(kept)] < 0.0, -1.0, 1.0)
    return (axes * signs).astype(np.float32), float(min(reached[kept - 1], 1.0))


def project(vectors: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h) by (h, d) -> the directions' coordinates (n, d)."""
    return matmul(unit(np.asarray(vectors)), axes)
