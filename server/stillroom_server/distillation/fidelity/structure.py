"""Whether a student sees the same texts as alike: no map needed, whatever its dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from stillroom_server.distillation.fidelity.neighbors import nearest, neighbors_for, recall
from stillroom_server.distillation.fidelity.pairs import Pairs, sample_pairs, similarities
from stillroom_server.distillation.fidelity.ranks import spearman
from stillroom_server.distillation.fidelity.vectors import Float32, unit

_SMALLEST_PREFIX = 32


class Structure(NamedTuple):
    """``spearman`` of the similarities of p ``pairs``, ``found`` (p,) by the student and
    ``expected`` (p,) by the teacher; ``recall`` of the ``neighbors`` nearest; ``prefixes`` the same
    two figures of the first dimensions alone. None where a figure is not defined."""

    spearman: float | None
    recall: float | None
    neighbors: int | None
    prefixes: list[dict[str, Any]]
    pairs: Pairs
    found: Float32
    expected: Float32


def compare(
    student: Float32, teacher: Float32, seed: int, between: Callable[[], None]
) -> Structure:
    """Unit rows (n, d) and (n, h) of the same texts. ``between`` is called often (cancellation)."""
    pairs = sample_pairs(len(student), seed)
    expected = similarities(teacher, pairs, between)
    count = neighbors_for(len(student))
    goal = None if count is None else nearest(teacher, count, between)
    prefixes = []
    for size in prefix_sizes(student.shape[1]):
        part = unit(student[:, :size])
        found = similarities(part, pairs, between)
        shared = None
        if count is not None and goal is not None:
            shared = recall(goal, nearest(part, count, between))
        prefixes.append(
            {
                "dimensions": size,
                "similarity_spearman": spearman(expected, found),
                "recall_at_10": shared,
            }
        )
    whole = prefixes[-1]
    return Structure(
        whole["similarity_spearman"],
        whole["recall_at_10"],
        count,
        prefixes,
        pairs,
        found,
        expected,
    )


def prefix_sizes(dimensions: int) -> list[int]:
    """32, 64, 128, ... below ``dimensions``, and ``dimensions``."""
    sizes = [_SMALLEST_PREFIX]
    while sizes[-1] * 2 < dimensions:
        sizes.append(sizes[-1] * 2)
    return [*(size for size in sizes if size < dimensions), dimensions]
