"""Distance of each vector to its target."""

from __future__ import annotations

from torch import Tensor


def cosine_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """(n, d) of length one, (n, d) of length one -> 1 - cosine, (n,).

    As of tokenlearn (MinishLab, 2024): where a text lies in the teacher's space.
    """
    return 1.0 - (vectors * targets).sum(dim=1)
