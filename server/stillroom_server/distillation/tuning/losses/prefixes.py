"""A loss of every prefix of the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""From vectors and targets (n, k) of length one to (n,)."""


class PrefixLoss:
    """The mean of a loss over prefixes, each brought to length one first.

    Matryoshka representation learning (Kusupati et al., NeurIPS 2022).
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """``sizes``: of the prefixes. Raises ValueError for none, or one below 1."""
        if not sizes or min(sizes) < 1:
            raise ValueError(f"{list(sizes)} are no sizes of prefixes")
        self.sizes = tuple(sizes)

    def __call__(self, loss: Loss, vectors: Tensor, targets: Tensor) -> Tensor:
        """Vectors and targets (n, d) -> (n,)."""
        return sum(
            (self.part(size, loss, vectors, targets) for size in self.sizes),
            vectors.new_zeros(len(vectors)),
        )

    def part(self, size: int, loss: Loss, vectors: Tensor, targets: Tensor) -> Tensor:
        """What one of the sizes adds to that, (n,)."""
        return loss(
            torch.nn.functional.normalize(vectors[:, :size], dim=1),
            torch.nn.functional.normalize(targets[:, :size], dim=1),
        ) / len(self.sizes)
