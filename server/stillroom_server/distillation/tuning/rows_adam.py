"""Adam for the rows of a table of which a batch touches few."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

_BETA1 = 0.9
_BETA2 = 0.99
_EPSILON = 1e-8


class RowsAdam:
    """Adam (Kingma and Ba, ICLR 2015) whose moments move only with the rows a batch touches.

    A rare word then moves once for each text it is in; with moments that decay in every step it
    would go on moving for ten, and fit its few texts too well. The table is changed in place.
    """

    def __init__(self, table: NDArray[np.float32]) -> None:
        self.table = table
        self.first = np.zeros_like(table)
        self.second = np.zeros_like(table)
        self.steps = 0

    def step(self, rows: NDArray[np.int64], gradients: NDArray[np.float32], rate: float) -> None:
        """``rows`` (k,), each once; ``gradients`` (k, d)."""
        self.steps += 1
        index = torch.from_numpy(rows)
        slope = torch.from_numpy(gradients)
        table, first, second = map(torch.from_numpy, (self.table, self.first, self.second))
        mean = first.index_select(0, index).mul_(_BETA1).add_(slope, alpha=1.0 - _BETA1)
        square = second.index_select(0, index).mul_(_BETA2)
        square.addcmul_(slope, slope, value=1.0 - _BETA2)
        first.index_copy_(0, index, mean)
        second.index_copy_(0, index, square)
        size = rate / (1.0 - _BETA1**self.steps)
        spread = square.sqrt_().div_(math.sqrt(1.0 - _BETA2**self.steps)).add_(_EPSILON)
        table.index_add_(0, index, mean.div_(spread), alpha=-size)
