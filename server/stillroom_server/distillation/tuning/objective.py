"""What training lowers, and what a student is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillroom_server.distillation.tuning.losses.cosine import cosine_loss
from stillroom_server.distillation.tuning.losses.prefixes import PrefixLoss
from stillroom_server.distillation.tuning.losses.similarity import SimilarityLoss
from stillroom_server.distillation.tuning.targets import unit
from stillroom_server.distillation.tuning.threads import one_thread

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
        loss of the n texts, and its slope by the sums (n, d)."""
        leaf = torch.from_numpy(sums).requires_grad_()
        with one_thread():
            losses = self._losses(leaf, targets, teacher)
            losses.backward(torch.full_like(losses, 1.0 / len(losses)))  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return _mean(losses), leaf.grad.numpy()

    def value(
        self, sums: NDArray[np.float32], targets: NDArray[np.float32], teacher: NDArray[np.float32]
    ) -> float:
        """The loss alone."""
        with one_thread(), torch.no_grad():
            return _mean(self._losses(torch.from_numpy(sums), targets, teacher))

    def _losses(
        self, sums: Tensor, targets: NDArray[np.float32], teacher: NDArray[np.float32]
    ) -> Tensor:
        with torch.no_grad():
            choices = self._similarity.log_choices(torch.from_numpy(unit(teacher)))

        def loss(vectors: Tensor, wanted: Tensor) -> Tensor:
            return COSINE * cosine_loss(vectors, wanted) + SIMILARITY * self._similarity(
                vectors, choices
            )

        return self._prefixes(loss, sums, torch.from_numpy(targets))


def _mean(losses: Tensor) -> float:
    # numpy sums in one order; torch in as many as there are threads.
    return float(losses.detach().numpy().astype(np.float64).mean())
