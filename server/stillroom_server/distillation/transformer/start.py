"""Where training starts: the reduced space of the targets, and the linear map by least squares."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.tuning.protocols import Corpus, Features

# Vectors that the principal axes are taken from; more change nothing that can be measured.
AXES_TEXTS = 32_768
# Texts that the linear map is fitted to: several times the dimensions of any usual teacher.
FIT_TEXTS = 4_096
_RIDGE = 1e-2


def principal_axes(corpus: Corpus, features: Features, dimensions: int) -> Tensor:
    """(teacher's d, ``dimensions``) float32: the axes that keep most of the inner products.

    Not centered, unlike a table's PCA: what shall survive are the cosines of the vectors as they
    are, and the best low rank of their Gram matrix is that of the second moments (Eckart, Young
    1936).
    """
    moments = torch.zeros(features.dim, features.dim, dtype=torch.float64)
    seen = 0
    for index, shard in enumerate(corpus.training):
        if seen >= AXES_TEXTS:
            break
        vectors = torch.from_numpy(np.array(features.training(index))).double()
        moments += vectors.T @ vectors
        seen += shard.count
    axes = torch.linalg.eigh(moments)[1].flip(1)[:, :dimensions]
    signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    result: Tensor = (axes * signs).float().contiguous()
    return result


def reduced(vectors: NDArray[np.float32], axes: Tensor | None) -> Tensor:
    """(n, teacher's d) -> (n, d), in the space of the student's vectors."""
    values = torch.from_numpy(np.array(vectors, dtype=np.float32))
    return values if axes is None else values @ axes


def fit_linear(inputs: Tensor, targets: Tensor) -> Tensor:
    """The weight (d, h) of the linear map from ``inputs`` (n, h) to ``targets`` (n, d) by ridge
    regression. Raises FailedPrecondition (TEACHER_NOT_FINITE)."""
    x, y = inputs.double(), targets.double()
    moments = x.T @ x
    strength = max(float(moments.diagonal().mean()), 1e-12)
    moments += _RIDGE * strength * torch.eye(len(moments), dtype=torch.float64)
    try:
        weight: Tensor = torch.linalg.solve(moments, x.T @ y).T.float().contiguous()
        finite = bool(torch.isfinite(weight).all())
    except RuntimeError:  # LinAlgError of a singular system is one
        finite = False
    if not finite:
        raise FailedPrecondition(
            "the teacher's vectors are not finite; its weights are damaged or overflow",
            reason="TEACHER_NOT_FINITE",
            field="teacher",
        )
    return weight
