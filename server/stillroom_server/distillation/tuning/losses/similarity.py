"""Whether texts are as near to one another as to the teacher."""

from __future__ import annotations

import torch
from torch import Tensor

_FAR = -1e9  # instead of a text's similarity with itself


class SimilarityLoss:
    """Divergence between two distributions over the other texts of a batch.

    Each text chooses another with probability softmax(similarity / temperature), for the teacher in
    its whole space and for the student; the loss is KL(teacher || student). After relational
    distillation by Gram matrices: CompRess (Abbasi Koohpayegani et al., NeurIPS 2020) and SEED
    (Fang et al., ICLR 2021). The lower the temperature, the more the nearest texts decide.
    """

    def __init__(self, temperature: float) -> None:
        """Raises ValueError for a temperature that is not positive."""
        if not temperature > 0.0:
            raise ValueError(f"the temperature {temperature} is not positive")
        self._temperature = temperature

    def log_choices(self, vectors: Tensor) -> Tensor:
        """(n, h) of length one -> log probabilities (n, n), with ``-1e9 / temperature`` or so on
        the diagonal."""
        own = torch.eye(len(vectors), dtype=torch.bool)
        similarities = (vectors @ vectors.T) / self._temperature
        return similarities.masked_fill(own, _FAR).log_softmax(dim=1)

    def __call__(self, vectors: Tensor, teacher: Tensor) -> Tensor:
        """(n, d) of length one; the teacher's ``log_choices`` (n, n) -> (n,). Zero for n < 3, where
        there is nothing to choose between."""
        if len(vectors) < 3:
            return vectors.new_zeros(len(vectors)) * vectors[:, 0]
        divergence = teacher.exp() * (teacher - self.log_choices(vectors))
        return divergence.sum(dim=1)
