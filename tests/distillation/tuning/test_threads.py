"""What is computed side by side has the same bits with any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from stillroom_server.distillation.tuning import threads
from stillroom_server.distillation.tuning.objective import Objective
from stillroom_server.distillation.tuning.threads import add_product, side_by_side, sparse_times


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def with_threads(count: int, compute: Any) -> Any:
    torch.set_num_threads(count)
    found = compute()
    assert torch.get_num_threads() == count
    return found


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_products_are_added_row_by_row(index: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WORTHWHILE", 8)
    random = np.random.default_rng(0)
    matrix = sparse.random(70, 30, 0.2, "csr", np.float32, random)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    dense = random.standard_normal((30, 19), dtype=np.float32)
    before = random.standard_normal((70, 19), dtype=np.float32)

    def added() -> Any:
        out = before.copy()
        add_product(matrix, dense, out)
        return out

    found = [with_threads(count, added) for count in (1, 2, 3)]
    np.testing.assert_allclose(found[0], before + matrix.toarray() @ dense, atol=1e-5)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    np.testing.assert_allclose(sparse_times(matrix, dense.T.copy().T), matrix @ dense, atol=1e-5)
    monkeypatch.setattr(threads, "_multiply", lambda: None)
    np.testing.assert_allclose(with_threads(3, added), found[0], atol=1e-5)


def test_rows_without_an_entry_are_not_touched() -> None:
    out = np.full((3, 2), np.nan, np.float32)
    out[1] = 0
    add_product(
        sparse.csr_matrix(([2.0], [0], [0, 0, 1, 1]), shape=(3, 1), dtype=np.float32),
        np.ones((1, 2), np.float32),
        out,
    )
    assert out[1].tolist() == [2, 2]
    assert np.isnan(out[[0, 2]]).all()


def test_each_has_a_thread_of_its_own() -> None:
    def compute(number: int) -> tuple[int, int]:
        return number, torch.get_num_threads()

    for count in (1, 2, 5):
        found = with_threads(count, lambda: side_by_side(compute, range(4)))
        assert found == [(number, 1) for number in range(4)]


def test_a_loss_and_its_slope_have_the_same_bits() -> None:
    random = np.random.default_rng(1)
    sums, targets = random.standard_normal((2, 40, 16), dtype=np.float32)
    teacher = random.standard_normal((40, 24), dtype=np.float32)
    objective = Objective((4, 8, 16))
    found = [
        with_threads(count, lambda: objective.gradient(sums, targets, teacher))
        for count in (1, 2, 3)
    ]
    for loss, slope in found:
        assert loss == found[0][0] == objective.value(sums, targets, teacher)
        np.testing.assert_array_equal(slope, found[0][1])
    step = np.zeros_like(sums)
    step[7, 3] = 1e-2
    rise = objective.value(sums + step, targets, teacher)
    rise -= objective.value(sums - step, targets, teacher)
    assert rise / 2e-2 == pytest.approx(found[0][1][7, 3], rel=0.05)
