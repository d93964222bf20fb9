"""A loss of every prefix of the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class PrefixLoss:
    """The mean of a loss over prefixes, each brought to length one first.

    Matryoshka representation learning (Kusupati et al., NeurIPS 2022).
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """``sizes``: of the prefixes. Raises ValueError for none, or one below 1."""
        if not sizes or min(sizes) < 1:
            raise ValueError(f"{list(sizes)} are no sizes of prefixes")
        self.sizes = tuple(sizes)

    def __call__(
        self, loss: Callable[[Tensor, Tensor], Tensor], vectors: Tensor, targets: Tensor
    ) -> Tensor:
        """``loss`` takes vectors and targets (n, k) of length one and gives (n,); vectors and
        targets are (n, d) -> (n,)."""
        total = vectors.new_zeros(len(vectors))
        for size in self.sizes:
            total = total + loss(
                torch.nn.functional.normalize(vectors[:, :size], dim=1),
                torch.nn.functional.normalize(targets[:, :size], dim=1),
            )
        return total / len(self.sizes)
