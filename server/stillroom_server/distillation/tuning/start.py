"""The closed form: the vocabulary's own vectors mapped among the sentences, then ridge regression.

Nothing here depends on a learning rate, and a word that the corpus lacks keeps the row that the
teacher's vector of it maps to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.targets import unit
from stillroom_server.distillation.tuning.threads import Sparse, solve, sparse_times

FREQUENCY = 3e-3
"""The a of the token weight a / (a + p). Larger than a static student's: p is counted here."""
PRIOR = 0.4
"""How strongly a row is held at its start, in occurrences in a text of one token."""
_RIDGE = 1e-3  # of the map, as a share of the mean of its normal matrix's diagonal
_ROUNDS = 2
_STEPS = 6  # of conjugate gradients a round; more fit the corpus better and other texts worse

Block = tuple[Sparse, NDArray[np.float32]]
"""Bags (n, rows) and the targets (n, d) of the same texts."""
Blocks = Sequence[Callable[[], Block]]
"""A block at a time is read, so that a corpus may be larger than memory."""


def token_weights(usage: NDArray[np.float64]) -> NDArray[np.float32]:
    """Occurrences (V,) -> weights a / (a + p) (V,), p the smoothed share of all occurrences.

    Smooth inverse frequency (Arora, Liang and Ma, ICLR 2017).
    """
    shares = (usage + 1.0) / (usage.sum() + len(usage))
    weights: NDArray[np.float32] = (FREQUENCY / (FREQUENCY + shares)).astype(np.float32)
    return weights


def mapped(
    blocks: Blocks, rows: NDArray[np.float32], tell: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """Rows (V', h) -> (V', d) among the targets, of such lengths that a text's sum has on average
    the square root of its number of rows."""
    table = _times(rows, linear_map(blocks, rows, tell))
    squares, expected = 0.0, 0.0
    for block in blocks:
        tell(0, 0)
        bags, _ = block()
        sums = sparse_times(bags, table)
        squares += float(np.einsum("nd,nd->n", sums, sums).sum(dtype=np.float64))
        expected += float(bags.sum(dtype=np.float64))
    return table * np.float32(math.sqrt(expected / max(squares, 1e-30)))


def linear_map(
    blocks: Blocks, rows: NDArray[np.float32], tell: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """Rows (V', h) -> the map (h, d) by which a text's rows, summed and normalized, come nearest to
    its target: least squares with a little ridge."""
    width = rows.shape[1]
    left = np.zeros((width, width))
    right: NDArray[np.float64] | None = None
    for block in blocks:
        tell(0, 0)
        bags, targets = block()
        sums = unit(sparse_times(bags, rows))
        left += _product(sums, sums)
        more = _product(sums, targets)
        right = more if right is None else right + more
    assert right is not None
    diagonal = max(float(np.trace(left)) / width, 1e-12)
    return solve(left + _RIDGE * diagonal * np.eye(width), right).astype(np.float32)


def fit(
    blocks: Blocks,
    start: NDArray[np.float32],
    tell: Callable[[int, int], None],
) -> NDArray[np.float32]:
    """The table (rows, d) that brings texts' normalized sums near their targets, and stays near
    ``start``: min over W of sum_i |x_i W / |x_i W0| - y_i|^2 + PRIOR |W - start|^2.

    By conjugate gradients, preconditioned by the diagonal (Hestenes and Stiefel, 1952), each column
    for itself; the lengths |x_i W0| are those of the round before. ``tell`` gets steps done and in
    all, for every block.
    """
    table, total = start, _ROUNDS * (_STEPS + 1)
    for round_ in range(_ROUNDS):
        first = round_ * (_STEPS + 1)
        table = _round(blocks, start, table, partial(_ahead, tell, first, total))
    tell(total, total)
    return table


def _round(
    blocks: Blocks,
    start: NDArray[np.float32],
    table: NDArray[np.float32],
    tell: Callable[[int], None],
) -> NDArray[np.float32]:
    scales: list[NDArray[np.float32]] = []
    diagonal = np.full((len(table), 1), PRIOR, dtype=np.float32)
    residual = PRIOR * (start - table)
    for block in blocks:
        tell(0)
        bags, targets = block()
        sums = sparse_times(bags, table)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        scale = np.where(lengths > 1e-6, 1.0 / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)
        scales.append(scale)
        back = bags.T.tocsr()
        diagonal += back.multiply(back) @ (scale * scale)
        residual += sparse_times(back, scale * (targets - scale * sums))
    preconditioned = residual / diagonal
    direction = preconditioned
    power = _columns(residual, preconditioned)
    for step in range(_STEPS):
        image = PRIOR * direction
        for block, scale in zip(blocks, scales, strict=True):
            tell(1 + step)
            bags, _ = block()
            image += sparse_times(bags.T.tocsr(), scale * scale * sparse_times(bags, direction))
        size = power / np.maximum(_columns(direction, image), 1e-30)
        table = table + size * direction
        residual = residual - size * image
        preconditioned = residual / diagonal
        before, power = power, _columns(residual, preconditioned)
        direction = preconditioned + (power / np.maximum(before, 1e-30)) * direction
    return table


def _ahead(tell: Callable[[int, int], None], first: int, total: int, step: int) -> None:
    tell(first + step, total)


def _columns(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inner product of each column of (n, d) with the other's: (d,)."""
    product: NDArray[np.float32] = np.einsum("nd,nd->d", left, right)
    return product


def _times(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    product: NDArray[np.float32] = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
    return product


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    import torch

    product: NDArray[np.float64] = (
        (torch.from_numpy(left).T @ torch.from_numpy(right)).double().numpy()
    )
    return product
