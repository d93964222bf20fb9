"""The arithmetic of a static student: arrays in, arrays out, one step a function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import InvalidArgument

_BLOCK = 8192  # rows taken to float64 at a time; bounds memory


def mean_of(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean of the rows of (n, h), in float64."""
    mean: NDArray[np.float64] = vectors.mean(axis=0, dtype=np.float64)
    return mean


def principal_axes(
    vectors: NDArray[np.float32],
    mean: NDArray[np.float64],
    importance: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, h) float32 -> the h principal axes as columns (h, h) and the variance along each, largest
    first.

    By the covariance's eigenvectors, which are the right singular vectors of the centered matrix at
    a twentieth of the cost. ``importance`` (n,) says how much each row counts; None: all alike. An
    axis points to where its largest component is positive, so the same input gives the same signs.
    """
    if importance is None:
        importance = np.ones(len(vectors))
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] - mean
        block *= np.sqrt(importance[start : start + _BLOCK, None])
        covariance += block.T @ block
    variances, axes = np.linalg.eigh(covariance / float(importance.sum()))
    variances, axes = np.clip(variances[::-1], 0.0, None), axes[:, ::-1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    return axes, variances


def rank_importance(rows: int) -> NDArray[np.float64]:
    """What each row counts for the axes, (rows,): 1 / sqrt(i + 2) at frequency rank i.

    A text draws its words by frequency; a vocabulary holds each once and is mostly rare ones. Half
    way between the two, on the logarithmic scale, keeps what texts need and forgets no rare word.
    """
    return 1.0 / np.sqrt(np.arange(2, rows + 2, dtype=np.float64))


def temper(table: NDArray[np.float32], power: float = 0.15) -> NDArray[np.float32]:
    """Divides each column of (n, d) by its variance to the ``power``: a little of what whitening
    does, so that the first few axes do not decide every similarity alone."""
    variances = table.var(axis=0, dtype=np.float64)
    scales = np.where(variances > 0.0, np.maximum(variances, 1e-30), 1.0) ** -power
    tempered: NDArray[np.float32] = (table * scales).astype(np.float32)
    return tempered


def dimensions_for(variances: NDArray[np.float64], share: float) -> int:
    """The fewest leading dimensions that explain ``share``, in (0, 1), of the variance."""
    total = float(variances.sum())
    if total <= 0.0:
        raise InvalidArgument("the teacher gives every token the same vector", field="dimensions")
    reached = np.cumsum(variances) / total
    return min(int(np.searchsorted(reached, share)) + 1, len(variances))


def project(
    vectors: NDArray[np.float32], mean: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(n, h), (h,), (h, d) -> the centered rows along the axes, (n, d) float32."""
    out = np.empty((len(vectors), axes.shape[1]), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        out[start : start + _BLOCK] = (vectors[start : start + _BLOCK] - mean) @ axes
    return out


def sif_weights(rows: int, coefficient: float) -> NDArray[np.float64]:
    """A weight a row, (rows,): a / (a + p), p the row's probability by Zipf's law.

    Smooth inverse frequency (Arora, Liang and Ma, ICLR 2017). The rows' order stands in for their
    frequency rank i, from 0: p is proportional to 1 / (i + 2).
    """
    if not 0.0 < coefficient < 1.0:
        raise InvalidArgument("the SIF coefficient lies between 0 and 1", field="sif_coefficient")
    probabilities = 1.0 / np.arange(2, rows + 2, dtype=np.float64)
    probabilities /= probabilities.sum()
    return coefficient / (coefficient + probabilities)
