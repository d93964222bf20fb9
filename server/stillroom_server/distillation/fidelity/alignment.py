"""From the student's space to the teacher's, so that their vectors have a cosine at all.

A student's axes are its own (PCA turns them, training turns them again), and it often has fewer.
The map is affine, fitted by ridge regression on texts that are never those it is judged on; the
offset is there because a teacher's vectors have a mean that a centered student cannot have. What
the map cannot repair is what the student lost. Similarities and neighbors are compared without any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stillroom_server.distillation.fidelity.vectors import Float32, Float64, unit

FOLDS = 10
FEWEST = 32  # texts to fit a map to
_STRENGTHS = np.logspace(-6.0, 1.0, 8)  # of the ridge, in mean variances of the student's axes
_JUDGED = 384  # columns of the teacher's that the strength is chosen by, at most about so many


@dataclass(frozen=True)
class AffineMap:
    """``weights`` (d, h), ``offset`` (h,), float64."""

    weights: Float64
    offset: Float64

    def __call__(self, vectors: Float32) -> Float32:
        """Student vectors (n, d) -> unit vectors (n, h) in the teacher's space; zeros stay zeros,
        as a text that the student does not know has no vector."""
        mapped = unit(vectors @ self.weights + self.offset)
        mapped[~vectors.any(axis=1)] = 0.0
        return mapped


def fit(student: Float32, teacher: Float32, between: Callable[[], None] | None = None) -> AffineMap:
    """Unit rows (n, d) and (n, h) of the same texts -> the map of least squares with a ridge.

    The ridge's strength is the one with the least leave-one-out error, which ridge regression has
    in closed form: a residual over one minus the leverage of its row (Allen, Technometrics 1974).
    Rows of zeros on the student's side are left out.
    """
    known = student.any(axis=1)
    x, y = student[known].astype(np.float64), teacher[known].astype(np.float64)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x -= x_mean
    y -= y_mean
    variances, axes = np.linalg.eigh(x.T @ x)
    variances = np.clip(variances, 0.0, None)
    scale = float(variances.mean())
    if scale <= 0.0:  # the student says the same of every text
        return AffineMap(np.zeros((x.shape[1], y.shape[1])), y_mean)
    along = x @ axes
    shared = along.T @ y
    few = slice(None, None, -(-y.shape[1] // _JUDGED))
    errors = []
    for strength in _STRENGTHS * scale:
        errors.append(_left_out_error(along, y[:, few], variances, shared[:, few], strength))
        if between is not None:
            between()
    strength = _STRENGTHS[int(np.argmin(errors))] * scale
    weights = axes @ (shared / (variances + strength)[:, None])
    return AffineMap(weights, y_mean - x_mean @ weights)


def cross_fitted(
    student: Float32, teacher: Float32, seed: int, between: Callable[[], None] | None = None
) -> Float32:
    """Unit rows (n, d) and (n, h) -> (n, h): every row mapped by a map that was fitted without it,
    in ``FOLDS`` folds."""
    out = np.zeros(teacher.shape, dtype=np.float32)
    for held in np.array_split(np.random.default_rng(seed).permutation(len(student)), FOLDS):
        rest = np.setdiff1d(np.arange(len(student)), held)
        out[held] = fit(student[rest], teacher[rest])(student[held])
        if between is not None:
            between()
    return out


def _left_out_error(
    along: Float64, y: Float64, variances: Float64, shared: Float64, strength: float
) -> float:
    kept = 1.0 / (variances + strength)
    leverages = np.einsum("nd,d,nd->n", along, kept, along) + 1.0 / len(along)
    residuals = y - along @ (shared * kept[:, None])
    left_out = residuals / np.maximum(1.0 - leverages, 1e-9)[:, None]
    return float(np.einsum("nh,nh->", left_out, left_out))
