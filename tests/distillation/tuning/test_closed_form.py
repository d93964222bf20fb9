from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.tuning import start
from stillroom_server.distillation.tuning.batches import portions
from stillroom_server.distillation.tuning.mapping import Block, mapped
from stillroom_server.distillation.tuning.pairs import PairGains
from stillroom_server.distillation.tuning.rows_adam import RowsAdam
from stillroom_server.distillation.tuning.targets import leading_axes, moment_of, project, unit

RANDOM = np.random.default_rng(0)


def bags(texts: int, rows: int) -> Any:
    counts = RANDOM.poisson(0.3, size=(texts, rows)).astype(np.float32)
    counts[:, 0] = 1
    return sparse.csr_matrix(counts)


def block(texts: Any, targets: np.ndarray[Any, np.dtype[np.float32]]) -> Block:
    return Block(lambda: texts, lambda: targets)


def test_the_fit_is_that_of_the_normal_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_STEPS", 40)
    x = bags(60, 12)
    prior = RANDOM.normal(size=(12, 3)).astype(np.float32)
    y = unit(RANDOM.normal(size=(60, 3)).astype(np.float32))
    blocks = [block(x[:25], y[:25]), block(x[25:], y[25:])]
    found = start.fit(blocks, prior, 1, lambda done, total: None)
    scaled = x.toarray() / np.linalg.norm(x @ prior, axis=1, keepdims=True)
    wanted = np.linalg.solve(
        scaled.T @ scaled + start.PRIOR * np.eye(12), scaled.T @ y + start.PRIOR * prior
    )
    assert np.allclose(found, wanted, atol=1e-4)


def test_tokens_map_to_where_their_sentences_are() -> None:
    rows = RANDOM.normal(size=(40, 6)).astype(np.float32)
    turn = np.linalg.qr(RANDOM.normal(size=(6, 6)))[0].astype(np.float32)
    x = bags(400, 40)
    targets = unit((x @ rows) @ turn)
    found = mapped([block(x, targets)], rows, np.ones(40, np.float32), lambda: None)
    assert (unit(x @ found) * targets).sum(axis=1).mean() > 0.95
    squares = float((np.linalg.norm(x @ found, axis=1) ** 2).sum())
    assert squares == pytest.approx(float(x.sum()), rel=1e-3)


def test_pairs_that_say_nothing_new_gain_nothing() -> None:
    table = RANDOM.normal(size=(12, 4)).astype(np.float32)
    x = bags(200, 12)
    pairs = sparse.csr_matrix((RANDOM.random((200, 3)) < 0.2).astype(np.float32))
    sums = x @ table
    sums[pairs.toarray()[:, 1] > 0] += np.array([3, -3, 3, -3], np.float32)
    gains = PairGains(3, 4)
    gains.add(pairs, block(x, unit(sums)), table)
    assert gains.best(1) == [1]
    assert len(gains.best(9)) <= 3


def test_axes_carry_what_they_say_and_prefixes_the_most() -> None:
    spread = np.diag([4.0, 2.0, 1.0, 0.5, 0.1]).astype(np.float32)
    vectors = RANDOM.normal(size=(500, 5)).astype(np.float32) @ spread
    moment = moment_of(vectors)
    axes, share = leading_axes(moment, np.eye(5), 3)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    carried = (project(vectors, axes) ** 2).sum(axis=0)
    assert (np.diff(carried) < 0).all()
    assert share == pytest.approx(carried.sum() / 500, abs=1e-4)
    assert leading_axes(moment, np.eye(5), share - 0.01)[0].shape == (5, 3)
    with pytest.raises(FailedPrecondition) as caught:
        leading_axes(moment_of(np.ones((9, 5), np.float32)), np.eye(5), 3)
    assert caught.value.reason == "TEACHER_CONSTANT"


def test_an_epoch_takes_every_text_once_from_few_shards_at_a_time() -> None:
    counts = [2048] * 60 + [77]
    seen = []
    for portion in portions(counts, width=384, seed=3, epoch=1):
        texts = sum(counts[shard] for shard in portion.shards)
        assert texts * 384 * 4 <= 96 << 20
        positions = np.concatenate(portion.batches)
        assert sorted(positions.tolist()) == list(range(texts))
        assert all(256 <= len(batch) <= 768 for batch in portion.batches)
        seen += portion.shards
    assert sorted(seen) == list(range(61))
    again = list(portions(counts, 384, 3, 1))
    assert [portion.shards for portion in again] != [
        portion.shards for portion in portions(counts, 384, 3, 2)
    ]
    assert (again[0].batches[0] == next(portions(counts, 384, 3, 1)).batches[0]).all()


def test_adam_moves_only_the_rows_it_is_given() -> None:
    table = np.zeros((3, 2), dtype=np.float32)
    adam = RowsAdam(table)
    adam.step(np.array([1]), np.array([[2.0, -0.5]], np.float32), 0.1)
    assert table[[0, 2]].tolist() == [[0, 0], [0, 0]]
    assert table[1].tolist() == pytest.approx([-0.1, 0.1], rel=1e-4)
    adam.step(np.array([0, 1]), np.array([[1.0, 1.0], [2.0, -0.5]], np.float32), 0.1)
    assert table[1].tolist() == pytest.approx([-0.2, 0.2], rel=1e-2)
