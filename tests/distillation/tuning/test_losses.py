from __future__ import annotations

import pytest
import torch

from stillroom_server.distillation.tuning.losses.cosine import cosine_loss
from stillroom_server.distillation.tuning.losses.prefixes import PrefixLoss
from stillroom_server.distillation.tuning.losses.similarity import SimilarityLoss


def unit(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=1)


def test_cosine_loss_is_a_distance() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0]] * 3)
    assert cosine_loss(vectors, targets).tolist() == [0.0, 1.0, 2.0]


def test_similarity_loss_is_the_divergence_of_two_choices() -> None:
    student, teacher = unit(4, 3), unit(4, 5, seed=1)
    loss = SimilarityLoss(0.2)
    expected = []
    for row in range(4):
        others = [other for other in range(4) if other != row]
        p = torch.softmax((teacher[row] @ teacher[others].T) / 0.2, dim=0)
        q = torch.softmax((student[row] @ student[others].T) / 0.2, dim=0)
        expected.append(float((p * (p / q).log()).sum()))
    found = loss(student, loss.choices(teacher))
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert loss(teacher, loss.choices(teacher)).tolist() == pytest.approx([0.0] * 4, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 2])
def test_two_texts_have_no_choice(rows: int) -> None:
    loss = SimilarityLoss(0.1)
    vectors = unit(rows, 4).requires_grad_()
    found = loss(vectors, loss.choices(unit(rows, 4, seed=1)))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found.tolist() == [0.0] * rows
    assert torch.isfinite(vectors.grad).all() if vectors.grad is not None else False


def test_prefix_loss_is_the_mean_over_prefixes_of_length_one() -> None:
    vectors, targets = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
    found = PrefixLoss([1, 2])(cosine_loss, vectors, targets)
    assert found.tolist() == pytest.approx([(0.0 + 0.4) / 2])


def test_settings_that_make_no_sense_are_refused() -> None:
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="not positive"):
            SimilarityLoss(temperature)
    for sizes in ([], [0], [4, -1]):
        with pytest.raises(ValueError, match="no sizes"):
            PrefixLoss(sizes)
