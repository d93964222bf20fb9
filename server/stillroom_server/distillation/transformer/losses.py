"""What training minimizes."""

from __future__ import annotations

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
