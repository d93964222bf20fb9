"""Vectors before they are compared: checked, and of unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
_BLOCK = 4096  # rows taken to float64 at a time


def checked(vectors: NDArray[np.floating], rows: int, whose: str) -> Float32:
    """``vectors`` as float32 (rows, d). Raises FailedPrecondition, its reason beginning with
    ``whose`` in capitals, for another shape or a value that is not finite."""
    if vectors.ndim != 2 or len(vectors) != rows or not vectors.shape[1]:
        raise FailedPrecondition(
            f"the {whose} gave vectors of shape {vectors.shape} for {rows} texts",
            reason=f"{whose.upper()}_VECTORS_INVALID",
        )
    found: Float32 = np.ascontiguousarray(vectors, dtype=np.float32)
    if not np.isfinite(found).all():
        raise FailedPrecondition(
            f"the {whose}'s vectors are not finite; its weights are damaged or overflow",
            reason=f"{whose.upper()}_NOT_FINITE",
        )
    return found


def unit(vectors: NDArray[np.floating]) -> Float32:
    """(n, d) -> float32 (n, d), each row of length one; rows of zeros stay zeros.

    Scaled by the largest element first, so that no length overflows or underflows.
    """
    out = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        largest = np.abs(block).max(axis=1, initial=0.0, keepdims=True)
        block /= np.where(largest > 0.0, largest, 1.0)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        out[start : start + _BLOCK] = block / np.where(lengths > 0.0, lengths, 1.0)
    return out


def silent(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n, d) -> bool (n,): which rows are zeros, as those of texts without a known token are."""
    return np.asarray(~vectors.any(axis=1))


def row_cosines(first: Float32, second: Float32) -> Float64:
    """Two (n, d) of unit rows or zeros -> float64 (n,), the cosine of each row with its other."""
    cosines: Float64 = np.einsum("nd,nd->n", first, second, dtype=np.float64)
    return np.clip(cosines, -1.0, 1.0)
