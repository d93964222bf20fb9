"""Sparse products on every core, whose bits do not depend on how many there are: a thread takes
rows, and each row is summed by one. scipy lets go of the interpreter lock meanwhile."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import numpy as np

from stillroom_server.classification.features.ngram_matrix import Sparse
from stillroom_server.inference.engines.base import Float32

_WORTHWHILE = 1 << 21  # multiplications below which threads cost more than they save


class Product:
    """``matrix`` (n, m), csr, times dense ones (m, K)."""

    def __init__(self, matrix: Sparse) -> None:
        self._shape = matrix.shape
        self._entries = matrix.nnz
        cuts = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, _cores() + 1)[1:-1])
        bounds = np.unique([0, *cuts.tolist(), matrix.shape[0]]).tolist()
        self._parts = [(start, stop, matrix[start:stop]) for start, stop in pairwise(bounds)]

    def times(self, dense: Float32) -> Float32:
        """(n, K) float32."""
        out = np.empty((self._shape[0], dense.shape[1]), np.float32)

        def part(at: tuple[int, int, Sparse]) -> None:
            out[at[0] : at[1]] = at[2] @ dense

        if len(self._parts) < 2 or self._entries * dense.shape[1] < _WORTHWHILE:
            for each in self._parts:
                part(each)
        else:
            list(_pool().map(part, self._parts))
        return out


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


@lru_cache(1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="sparse")
