"""Rows that share: a vocabulary's table as a few directions and a weight a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 20
_SETTLED = 1e-3  # of the rows still change their cluster
_BLOCK_FLOPS = 2e9  # of one product: well below a fifth of a second


class Clusters(NamedTuple):
    """``rows`` (k, d) float32 directions; ``mapping`` (n,) int64, the row of each token;
    ``weights`` (n,) float32, such that ``weights[i] * rows[mapping[i]]`` is nearest to row i."""

    rows: NDArray[np.float32]
    mapping: NDArray[np.int64]
    weights: NDArray[np.float32]


def cluster(
    table: NDArray[np.float32],
    count: int,
    seed: int,
    on_step: Callable[[int, int], None] = lambda *_: None,
) -> Clusters:
    """k-means (Lloyd, IEEE Trans. Inf. Theory 1982) of the rows' directions, (n, d) -> ``count``.

    Of directions, as a row's length is a weight that each token keeps: else frequent tokens, whose
    rows are short, would all share the one in the middle. A row of zeros keeps a weight of zero.
    Starts at random rows. On one thread, so that the same arguments give the same bits. ``on_step``
    is told of (products done, products to do at most).
    """
    lengths = np.linalg.norm(table.astype(np.float64), axis=1)
    heard = np.flatnonzero(lengths > 0)
    if not len(heard):
        none = np.zeros(len(table))
        return Clusters(table[:1].copy(), none.astype(np.int64), none.astype(np.float32))
    units = (table[heard] / lengths[heard, None]).astype(np.float32)
    distinct = np.unique(units, axis=0, return_index=True)[1]
    rng = np.random.default_rng(seed)
    count = min(count, len(distinct))
    centers = units[np.sort(rng.choice(distinct, count, replace=False))].copy()
    block = max(1, int(_BLOCK_FLOPS / (2 * max(1, centers.size))))
    steps = -(-len(units) // block)
    found = np.full(len(units), -1, dtype=np.int64)

    def tell(done: int) -> None:
        on_step(done, ITERATIONS * steps)

    for turn in range(ITERATIONS):
        nearest, distance = _assign(units, centers, block, tell, turn * steps)
        changed = int((nearest != found).sum())
        found = nearest
        if changed <= _SETTLED * len(units):
            break
        if turn + 1 < ITERATIONS:
            centers = _centers(units, found, distance, count)
    mapping = np.zeros(len(table), dtype=np.int64)
    weights = np.zeros(len(table), dtype=np.float32)
    mapping[heard] = found
    shared = centers[found].astype(np.float64)
    products = np.einsum("nd,nd->n", shared, table[heard])
    squares = np.einsum("nd,nd->n", shared, shared)
    weights[heard] = products / np.maximum(squares, np.finfo(np.float64).tiny)
    tell(ITERATIONS * steps)
    return Clusters(centers, mapping, weights)


def _assign(
    units: NDArray[np.float32],
    centers: NDArray[np.float32],
    block: int,
    tell: Callable[[int], None],
    done: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest center of each row and the squared distance to it, but for the row's own square,
    which is one."""
    import torch

    nearest = np.empty(len(units), dtype=np.int64)
    distance = np.empty(len(units), dtype=np.float32)
    right = torch.from_numpy(centers).T
    half = torch.from_numpy(np.einsum("kd,kd->k", centers, centers) / 2)
    threads = torch.get_num_threads()
    for number, start in enumerate(range(0, len(units), block)):
        tell(done + number)
        torch.set_num_threads(1)  # a product's rounding depends on how it is shared out
        try:
            scores = torch.addmm(
                half, torch.from_numpy(units[start : start + block]), right, beta=-1
            )
            best = scores.max(dim=1)
        finally:
            torch.set_num_threads(threads)
        nearest[start : start + block] = best.indices.numpy()
        distance[start : start + block] = 1 - 2 * best.values.numpy()
    return nearest, distance


def _centers(
    units: NDArray[np.float32],
    nearest: NDArray[np.int64],
    distance: NDArray[np.float32],
    count: int,
) -> NDArray[np.float32]:
    """The mean of each cluster; one that lost all its rows starts again at one far from its own."""
    order = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest, minlength=count)
    filled = np.flatnonzero(sizes)
    starts = np.concatenate(([0], np.cumsum(sizes[filled])[:-1]))
    centers = np.zeros((count, units.shape[1]), dtype=np.float32)
    sums = np.add.reduceat(units[order], starts, axis=0)
    centers[filled] = sums / sizes[filled, None]
    empty = np.flatnonzero(sizes == 0)
    farthest = np.argsort(-distance, kind="stable")[: len(empty)]
    centers[empty] = units[farthest]
    return centers
