"""Rows that share a direction."""

from __future__ import annotations

import numpy as np
import pytest

from stillroom_server.distillation.quantizing import clusters
from stillroom_server.distillation.quantizing.clusters import cluster


def drawn(count: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``count`` rows along six directions, of lengths over two decades, and which."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((16, 16)))[0][:6]
    numbers = rng.integers(0, 6, count)
    rows = directions[numbers] + noise * rng.standard_normal((count, 16))
    return (rows * np.logspace(-1, 1, count)[:, None]).astype(np.float32), numbers


def restored(found: clusters.Clusters) -> np.ndarray:
    return found.weights[:, None] * found.rows[found.mapping]


def test_as_many_rows_as_directions_lose_nothing() -> None:
    table, _ = drawn(12, 0.0)
    found = cluster(table, 6, seed=1)
    np.testing.assert_allclose(restored(found), table, rtol=1e-4, atol=1e-6)


def test_more_clusters_lose_less_and_weights_are_the_best_for_their_rows() -> None:
    table, _ = drawn(400, 0.2)
    lost = []
    for count in (4, 32, 256):
        found = cluster(table, count, seed=0)
        assert found.rows.shape == (count, 16)
        error = table - restored(found)
        # The rest of a least-squares fit is at a right angle to what was fitted.
        against = np.einsum("nd,nd->n", error, found.rows[found.mapping])
        assert np.abs(against / np.linalg.norm(table, axis=1)).max() < 1e-3
        lost.append(float(np.square(error).sum()))
    assert lost[0] > lost[1] > lost[2]


def test_better_than_the_library_that_model2vec_uses_is_not_far() -> None:
    from sklearn.cluster import KMeans

    table, _ = drawn(600, 0.4)
    units = table / np.linalg.norm(table, axis=1, keepdims=True)
    theirs = KMeans(n_clusters=40, random_state=0, init="random", n_init=1).fit(units).inertia_
    found = cluster(table, 40, seed=0)
    ours = float(np.square(units - found.rows[found.mapping]).sum())
    assert ours < 1.05 * theirs


def test_the_same_bits_whatever_the_threads_and_blocks_are_told() -> None:
    import torch

    table, _ = drawn(3000, 0.5)
    seen: list[tuple[int, int]] = []
    first = cluster(table, 64, 3, lambda done, total: seen.append((done, total)))
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        second = cluster(table, 64, 3)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes()
    assert not np.array_equal(first.rows, cluster(table, 64, 4).rows)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_rows_of_zeros_stay_zeros() -> None:
    table, _ = drawn(50, 0.3)
    table[[0, 7]] = 0.0
    found = cluster(table, 5, seed=0)
    assert not restored(found)[[0, 7]].any()
    silent = cluster(np.zeros((4, 3), np.float32), 2, seed=0)
    assert not silent.weights.any()


def test_fewer_directions_than_clusters() -> None:
    table, _ = drawn(30, 0.0)
    table = np.repeat(table[:2], 10, axis=0)
    found = cluster(table, 15, seed=0)
    assert len(found.rows) == 2
    np.testing.assert_allclose(restored(found), table, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 700])
def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    table, _ = drawn(100, 0.3)
    whole = cluster(table, 10, seed=0)
    monkeypatch.setattr(clusters, "_BLOCK_FLOPS", 2 * 160 * size)
    parts = cluster(table, 10, seed=0)
    np.testing.assert_array_equal(whole.mapping, parts.mapping)
