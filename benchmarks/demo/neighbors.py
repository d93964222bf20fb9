"""Nearest neighbors by cosine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Neighbor(NamedTuple):
    """A text by its place in the list, and how similar it is."""

    place: int
    cosine: float


def nearest(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], count: int
) -> list[list[Neighbor]]:
    """For each row of ``queries`` (q, d) the ``count`` most similar rows of ``vectors`` (n, d), the
    most similar first. All rows have unit length."""
    cosines = queries @ vectors.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return [
        [Neighbor(int(place), float(row[place])) for place in best]
        for row, best in zip(cosines, order, strict=True)
    ]


def rank(neighbors: list[Neighbor], place: int) -> int:
    """Where among ``neighbors`` the text at ``place`` stands, from 1. ValueError: nowhere."""
    return [neighbor.place for neighbor in neighbors].index(place) + 1


def agreement(some: list[list[Neighbor]], others: list[list[Neighbor]]) -> int:
    """For how many queries both name the same text first."""
    return sum(a[0].place == b[0].place for a, b in zip(some, others, strict=True))
