"""Arithmetic whose bits do not depend on how many threads there are.

Sparse products, where most of the time goes, share their rows out. Dense ones run on one thread: a
library may cut a long sum into as many parts as it has threads, and which shapes it does that to is
its secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sparse = Any  # scipy.sparse.csr_matrix of float32, which scipy's stubs cannot name at run time
_WORTHWHILE = 1 << 16  # entries of a matrix below which threads cost more than they save


def sparse_times(matrix: Sparse, dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) sparse by (m, d) dense -> (n, d). Threads take rows; scipy lets go of the interpreter
    lock meanwhile."""
    import torch

    threads = torch.get_num_threads()
    if threads < 2 or matrix.nnz < _WORTHWHILE:
        result: NDArray[np.float32] = matrix @ dense
        return result
    # Rows differ in length: cut where the entries are halved, not the rows.
    cuts = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, threads + 1)[1:-1])
    bounds = np.unique([0, *cuts.tolist(), matrix.shape[0]])
    out = np.empty((matrix.shape[0], dense.shape[1]), dtype=np.float32)

    def part(start: int, stop: int) -> None:
        out[start:stop] = matrix[start:stop] @ dense

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, bounds[:-1].tolist(), bounds[1:].tolist()))
    return out


def matmul(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) by (m, d), both dense -> (n, d)."""
    import torch

    with one_thread():
        product: NDArray[np.float32] = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
    return product


def eigh(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (h,), rising, and eigenvectors as columns (h, h) of a symmetric (h, h)."""
    import torch

    with one_thread():
        values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def solve(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """x of (h, h) x = (h, d), the left side positive definite."""
    import torch

    with one_thread():
        factor = torch.linalg.cholesky(torch.from_numpy(left))
        solved: NDArray[np.float64] = torch.cholesky_solve(torch.from_numpy(right), factor).numpy()
    return solved


@contextmanager
def one_thread() -> Iterator[None]:
    """For what sums in another order when there are more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
