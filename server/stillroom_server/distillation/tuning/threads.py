"""Arithmetic whose bits do not depend on how many threads there are.

Sparse products share their rows out, and what has several parts computes them side by side. Dense
products run on one thread: a library may cut a long sum into as many parts as it has threads, and
which shapes it does that to is its secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.passes import alone
from stillroom_server.inference.engines.gather import csr_matvecs

A = TypeVar("A")
B = TypeVar("B")
Sparse = Any  # scipy.sparse.csr_matrix of float32, which scipy's stubs cannot name at run time
_WORTHWHILE = 1 << 14  # entries of a matrix below which threads cost more than they save


def sparse_times(matrix: Sparse, dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) sparse by (m, d) dense -> (n, d)."""
    out = np.zeros((matrix.shape[0], dense.shape[1]), dtype=np.float32)
    add_product(matrix, dense, out)
    return out


def add_product(matrix: Sparse, dense: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Adds (n, m) sparse by (m, d) dense to ``out`` (n, d), contiguous; rows without an entry are
    not touched. Threads take rows; whoever multiplies lets go of the interpreter lock."""
    import torch

    threads = torch.get_num_threads()
    bounds = [0, matrix.shape[0]]
    if threads > 1 and matrix.nnz >= _WORTHWHILE:
        # Rows differ in length: cut where the entries are halved, not the rows.
        cuts = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, threads + 1)[1:-1])
        bounds = np.unique([*bounds, *cuts.tolist()]).tolist()
    add = partial(_add_rows, matrix, np.ascontiguousarray(dense, dtype=np.float32), out)
    if len(bounds) < 3:
        add(*bounds)
        return
    list(_pool(threads).map(add, bounds[:-1], bounds[1:]))


def _add_rows(
    matrix: Sparse, dense: NDArray[np.float32], out: NDArray[np.float32], start: int, stop: int
) -> None:
    multiply = _multiply()
    if multiply is None:
        out[start:stop] += matrix[start:stop] @ dense
        return
    multiply(
        stop - start,
        *dense.shape,
        matrix.indptr[start : stop + 1].astype(np.int32, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float32, copy=False),
        dense.reshape(-1),
        out[start:stop].reshape(-1),
    )


@lru_cache(1)
def _multiply() -> Callable[..., None] | None:
    return csr_matvecs()


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


def side_by_side(compute: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
    """``compute`` of each, with one thread of torch's each, as many at once as may be used."""
    import torch

    threads = min(torch.get_num_threads(), len(arguments))
    with one_thread():
        if threads < 2:
            return [compute(argument) for argument in arguments]
        return list(_pool(threads).map(lambda argument: alone(compute, argument), arguments))


@lru_cache(8)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Kept, as a new thread's first product takes torch milliseconds more."""
    return ThreadPoolExecutor(threads, thread_name_prefix="tuning")


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
