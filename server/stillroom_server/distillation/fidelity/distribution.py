"""Counts that the figure draws, small enough to be kept with the report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BINS = 40


def histogram(cosines: NDArray[np.floating]) -> dict[str, Any]:
    """(n,) -> {"low", "high", "counts": [int] * 40}; high is 1, low a multiple of 0.1."""
    low = _floor(float(cosines.min(initial=1.0)))
    counts, _ = np.histogram(cosines, bins=_BINS, range=(low, 1.0))
    return {"low": low, "high": 1.0, "counts": counts.tolist()}


def grid(student: NDArray[np.floating], teacher: NDArray[np.floating]) -> dict[str, Any]:
    """Similarities (p,) of both -> {"low", "high", "counts": [[int] * 40] * 40}, a row a bin of the
    student's, a column a bin of the teacher's."""
    least = min(float(student.min(initial=1.0)), float(teacher.min(initial=1.0)))
    low = _floor(least)
    inside = np.clip(np.stack([student, teacher]), low, 1.0)
    counts, _, _ = np.histogram2d(inside[0], inside[1], bins=_BINS, range=[(low, 1.0)] * 2)
    return {"low": low, "high": 1.0, "counts": counts.astype(np.int64).tolist()}


def _floor(value: float) -> float:
    """The multiple of 0.1 below ``value``, in [-1, 0.9]."""
    return min(max(math.floor(value * 10.0) / 10.0, -1.0), 0.9)
