"""What training minimizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import kl_div, normalize

# Temperature of the similarities' distributions. At 0.05 a text's distribution is about its own
# neighborhood, which is what search and ranking ask for.
TEMPERATURE = 0.05
LENGTH_WEIGHT = 0.1


def distillation_loss(
    vectors: Tensor, targets: Tensor, others: Tensor, *, normalized: bool
) -> Tensor:
    """Mean over texts of ``1 - cos`` to the teacher's vector, plus the divergence of the text's
    distribution of similarities to other texts (relational distillation, arXiv 1904.05068, with
    distributions as in arXiv 2101.04731).

    ``vectors``, ``targets`` (n, d): the student's and the teacher's of the same texts; ``others``
    (m, d): the teacher's unit vectors of some other texts. As those stand still, a text's loss is
    its own, and the pieces of a batch add up to the batch. ``normalized`` False adds the relative
    error of the vectors' lengths.
    """
    unit, truth = normalize(vectors, dim=-1), normalize(targets, dim=-1)
    loss = (1.0 - (unit * truth).sum(1)).mean()
    student = (unit @ others.T / TEMPERATURE).log_softmax(1)
    teacher = (truth @ others.T / TEMPERATURE).softmax(1)
    loss = loss + kl_div(student, teacher, reduction="batchmean")
    if not normalized:
        lengths = targets.norm(dim=1).clamp(min=1e-6)
        loss = loss + LENGTH_WEIGHT * ((vectors.norm(dim=1) / lengths - 1.0) ** 2).mean()
    return loss


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor) -> Tensor:
    """How far each of the student's layers is from the teacher's layer at its share of the depth:
    the mean of squared distances over that of squared lengths, over tokens, summed over layers
    (as in TinyBERT, arXiv 1909.10351).

    ``student``, ``teacher``: what each layer reads, and last what the transformer gives, (n, s, h)
    each. A sentence has one vector but dozens of token states, so this teaches more by text.
    """
    depth, total = len(student) - 1, len(teacher) - 1
    weights = mask.unsqueeze(-1).to(student[0].dtype)
    loss = torch.zeros(())
    for layer in range(1, depth + 1):
        truth = teacher[(2 * layer * total + depth) // (2 * depth)] * weights
        distance = ((student[layer] * weights - truth) ** 2).sum()
        loss = loss + distance / (truth**2).sum().clamp(min=1e-9)
    return loss
