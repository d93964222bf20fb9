"""The closed form: ridge regression, held at where the vocabulary's own vectors map to.

Nothing here depends on a learning rate, and a word that the corpus lacks keeps its mapped row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.mapping import Blocks
from stillroom_server.distillation.tuning.threads import add_product, sparse_times

PRIOR = 1.5
"""How strongly a row is held at its start, in occurrences in a text of one token."""
_STEPS = 6  # of conjugate gradients a round; more fit the corpus better and other texts worse


def fit(
    blocks: Blocks,
    prior: NDArray[np.float32],
    rounds: int,
    tell: Callable[[int, int], None],
) -> NDArray[np.float32]:
    """The table (rows, d) that brings texts' normalized sums near their targets, and stays near
    ``prior``: min over W of sum_i |x_i W / |x_i W0| - y_i|^2 + PRIOR |W - prior|^2.

    By conjugate gradients, preconditioned by the diagonal (Hestenes and Stiefel, 1952), each column
    for itself; W0 is ``prior`` and then what the round before made of it. ``tell`` gets steps done
    and in all, for every block.
    """
    table, total = prior, rounds * (_STEPS + 1)
    for index in range(rounds):
        first = index * (_STEPS + 1)
        table = _round(blocks, prior, table, partial(_ahead, tell, first, total))
    tell(total, total)
    return table


def _round(
    blocks: Blocks,
    prior: NDArray[np.float32],
    table: NDArray[np.float32],
    tell: Callable[[int], None],
) -> NDArray[np.float32]:
    scales: list[NDArray[np.float32]] = []
    diagonal = np.full((len(table), 1), PRIOR, dtype=np.float32)
    residual = PRIOR * (prior - table)
    for block in blocks:
        tell(0)
        bags = block.bags()
        sums = sparse_times(bags, table)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        scale = np.where(lengths > 1e-6, 1.0 / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)
        scales.append(scale)
        back = bags.T.tocsr()
        diagonal += back.multiply(back) @ (scale * scale)
        add_product(back, scale * (block.targets() - scale * sums), residual)
    preconditioned = residual / diagonal
    direction = preconditioned
    power = _columns(residual, preconditioned)
    for step in range(_STEPS):
        image = PRIOR * direction
        for block, scale in zip(blocks, scales, strict=True):
            tell(1 + step)
            bags = block.bags()
            add_product(bags.T.tocsr(), scale * scale * sparse_times(bags, direction), image)
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
