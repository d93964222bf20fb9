"""Arrays of a report: their types, what is asked of them, and pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import Internal

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Floats = NDArray[np.float32] | NDArray[np.float64]
Bools = NDArray[np.bool_]
Between = Callable[[], None]
_ELEMENTS = 1 << 21  # of a piece: 16 MiB in float64
_SLACK = 1e-5  # how far float32 may leave [0, 1]


def as_type_of(values: Floats, like: Floats) -> Floats:
    """``values`` in the precision of ``like``: what is compared in serving is compared so."""
    if like.dtype == np.float32:
        return values.astype(np.float32)
    return values.astype(np.float64)


def pieces(rows: int, columns: int) -> Iterator[slice]:
    """Slices of so many rows that a piece of (rows, columns) has about two million elements."""
    step = max(1, _ELEMENTS // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def check_probabilities(values: Floats, rows: int, columns: int, between: Between) -> None:
    """Raises Internal (PROBABILITIES_INVALID) unless they are (rows, columns), finite and between
    0 and 1."""
    if values.shape != (rows, columns):
        raise Internal(
            f"probabilities of shape {values.shape} for {rows} texts and {columns} labels",
            reason="PROBABILITIES_INVALID",
        )
    for piece in pieces(rows, columns):
        between()
        block = values[piece]
        if not (block.min() >= -_SLACK and block.max() <= 1.0 + _SLACK):  # false for NaN
            raise Internal(
                "the classifier gave what are no probabilities (not finite, or outside 0 to 1)",
                reason="PROBABILITIES_INVALID",
            )
