"""What training lowers, and what a student is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillroom_server.distillation.tuning.losses.cosine import cosine_loss
from stillroom_server.distillation.tuning.losses.prefixes import Loss, PrefixLoss
from stillroom_server.distillation.tuning.losses.similarity import SimilarityLoss
from stillroom_server.distillation.tuning.targets import unit
from stillroom_server.distillation.tuning.threads import one_thread, side_by_side

TEMPERATURE = 0.1
COSINE = 1.0
SIMILARITY = 1.0


class Objective:
    """COSINE * cosine loss + SIMILARITY * similarity loss, the mean over prefixes of ``sizes``."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._prefixes = PrefixLoss(sizes)
        self._similarity = SimilarityLoss(TEMPERATURE)

    def gradient(
        self, sums: NDArray[np.float32], targets: NDArray[np.float32], teacher: NDArray[np.float32]
    ) -> tuple[float, NDArray[np.float32]]:
        """Sums of rows (n, d), their targets (n, d) and the teacher's vectors (n, h) -> the mean
        loss of the n texts, and its slope by the sums (n, d). Threads take prefixes."""
        loss = self._loss(teacher)

        def part(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            leaf = torch.from_numpy(sums).requires_grad_()
            losses = self._prefixes.part(size, loss, leaf, torch.from_numpy(targets))
            losses.backward(torch.full_like(losses, 1.0 / len(losses)))  # type: ignore[no-untyped-call]
            assert leaf.grad is not None
            return losses.detach().numpy(), leaf.grad.numpy()

        found = side_by_side(part, self._prefixes.sizes[::-1])  # the longest first
        losses, slopes = zip(*found[::-1], strict=True)
        return _mean(sum(losses[1:], losses[0])), sum(slopes[1:], slopes[0])

    def value(
        self, sums: NDArray[np.float32], targets: NDArray[np.float32], teacher: NDArray[np.float32]
    ) -> float:
        """The loss alone."""
        loss = self._loss(teacher)
        with one_thread(), torch.no_grad():
            losses = self._prefixes(loss, torch.from_numpy(sums), torch.from_numpy(targets))
        return _mean(losses.numpy())

    def _loss(self, teacher: NDArray[np.float32]) -> Loss:
        with one_thread(), torch.no_grad():
            choices = self._similarity.choices(torch.from_numpy(unit(teacher)))

        def loss(vectors: Tensor, wanted: Tensor) -> Tensor:
            return COSINE * cosine_loss(vectors, wanted) + SIMILARITY * self._similarity(
                vectors, choices
            )

        return loss


def _mean(losses: NDArray[np.float32]) -> float:
    return float(losses.astype(np.float64).mean())
