"""The arithmetic, against what it should equal."""

from __future__ import annotations

import numpy as np
import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation import static


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(5)
    mixed = rng.normal(size=(20_000, 12)) @ rng.normal(size=(12, 12))
    return (mixed + rng.normal(size=12)).astype(np.float32)


def test_axes_are_those_of_the_singular_value_decomposition(vectors: np.ndarray) -> None:
    mean = static.mean_of(vectors)
    axes, variances = static.principal_axes(vectors, mean)
    _, singular, right = np.linalg.svd(vectors - mean, full_matrices=False)
    np.testing.assert_allclose(variances, singular**2 / len(vectors), rtol=1e-9)
    np.testing.assert_allclose(np.abs((axes.T * right).sum(1)), 1.0, atol=1e-9)


def test_signs_are_the_same_however_the_rows_are_turned(vectors: np.ndarray) -> None:
    axes, _ = static.principal_axes(vectors, static.mean_of(vectors))
    again, _ = static.principal_axes(vectors[::-1].copy(), static.mean_of(vectors[::-1]))
    np.testing.assert_allclose(axes, again, atol=1e-6)
    largest = np.abs(axes).argmax(0)
    assert (axes[largest, np.arange(12)] > 0).all()


def test_projection_centers_and_turns(vectors: np.ndarray) -> None:
    mean = static.mean_of(vectors)
    axes, variances = static.principal_axes(vectors, mean)
    found = static.project(vectors, mean, axes[:, :5])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (vectors - mean) @ axes[:, :5], atol=1e-4)
    np.testing.assert_allclose(found.var(0), variances[:5], rtol=1e-4)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 1), (0.6, 2), (0.75, 2), (0.8, 3), (0.95, 4), (0.999, 4)]
)
def test_dimensions_for_a_share_of_the_variance(share: float, expected: int) -> None:
    assert static.dimensions_for(np.array([50.0, 25.0, 15.0, 10.0]), share) == expected


def test_no_variance_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        static.dimensions_for(np.zeros(4), 0.5)


def test_sif_weights() -> None:
    p = np.array([1 / 2, 1 / 3, 1 / 4])
    p /= p.sum()
    np.testing.assert_allclose(static.sif_weights(3, 1e-2), 1e-2 / (1e-2 + p))
    assert (np.diff(static.sif_weights(1000, 1e-4)) > 0).all()
    for wrong in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InvalidArgument):
            static.sif_weights(3, wrong)


def test_important_rows_decide_the_axes() -> None:
    vectors = np.array([[9, 0], [-9, 0], [0, 1], [0, -1]], dtype=np.float32)
    importance = np.array([1e-6, 1e-6, 1.0, 1.0])
    axes, _ = static.principal_axes(vectors, np.zeros(2), importance)
    np.testing.assert_allclose(axes[:, 0], [0, 1], atol=1e-9)
    assert (np.diff(static.rank_importance(100)) < 0).all()


def test_tempering_takes_a_power_of_the_variance_and_spares_silent_columns(
    vectors: np.ndarray,
) -> None:
    table = np.column_stack([vectors, np.zeros(len(vectors), np.float32)])
    found = static.temper(table, 0.25)
    np.testing.assert_allclose(found[:, :12].var(0), vectors.var(0) ** 0.5, rtol=1e-4)
    assert not found[:, 12].any()
    np.testing.assert_allclose(static.temper(vectors, 0.0), vectors)
