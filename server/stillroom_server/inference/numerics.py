"""Arithmetic on blocks of vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROWS_AT_ONCE = 512  # a block of 256 dimensions is then still in the second-level cache


def normalize(vectors: npt.NDArray[np.float32]) -> bool:
    """Divide each row of (n, d) by its Euclidean norm, in place; say whether none was zero.

    Zeros stay zeros.
    """
    if len(vectors) == 1:
        return normalize_one(vectors[0])
    complete = True
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = vectors[start : start + _ROWS_AT_ONCE]
        factors, whole = inverse_lengths(part)
        complete = complete and whole
        part *= factors[:, None]
    return complete


def inverse_lengths(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], bool]:
    """What ``normalize`` multiplies the rows of (n, d) by, float32 (n,), and what it says."""
    squares: npt.NDArray[np.float32] = np.vecdot(vectors, vectors)
    complete = bool(np.minimum.reduce(squares, initial=np.inf))  # without the Python around all()
    if not complete:
        squares[squares == 0] = 1
    np.sqrt(squares, out=squares)
    return np.reciprocal(squares, out=squares), complete


def normalize_one(vector: npt.NDArray[np.float32]) -> bool:
    """``normalize`` of one (d,) vector, at a third of the cost.

    Without BLAS and without a single scalar among the operands: either costs a server some 40 us a
    call where other code ran meanwhile, though alone both are as fast as this.
    """
    length = np.add.reduce(vector * vector, keepdims=True)
    if not length.item():
        return False
    np.divide(vector, np.sqrt(length), out=vector)
    return True
