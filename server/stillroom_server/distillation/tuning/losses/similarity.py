"""Whether texts are as near to one another as to the teacher."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

_FAR = -1e9  # instead of a text's similarity with itself


class Choices(NamedTuple):
    """With which probability each of n texts chooses another, (n, n), and the entropies (n,)."""

    shares: Tensor
    entropies: Tensor


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

    def choices(self, vectors: Tensor) -> Choices:
        """Of vectors (n, h) of length one."""
        similarities = self._similarities(vectors)
        shares = similarities.softmax(dim=1)
        return Choices(shares, _surprise(shares, similarities))

    def __call__(self, vectors: Tensor, teacher: Choices) -> Tensor:
        """(n, d) of length one; the teacher's choices -> (n,). Zero for n < 3, where there is
        nothing to choose between."""
        if len(vectors) < 3:
            return vectors.new_zeros(len(vectors)) * vectors[:, 0]
        return _surprise(teacher.shares, self._similarities(vectors)) - teacher.entropies

    def _similarities(self, vectors: Tensor) -> Tensor:
        """(n, n), divided by the temperature."""
        return ((vectors @ vectors.T) / self._temperature).fill_diagonal_(_FAR)


def _surprise(shares: Tensor, similarities: Tensor) -> Tensor:
    """The cross entropy (n,) of a choice by ``shares`` (n, n), as one by ``similarities`` sees it:
    what is left of -sum p log q where the p add up to one, in fewer passes over (n, n)."""
    return similarities.logsumexp(dim=1) - (shares * similarities).sum(dim=1)
