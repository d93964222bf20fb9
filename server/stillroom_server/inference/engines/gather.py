"""The gather engine: sums table rows text by text, without a temporary of all rows.

The product of a sparse CSR matrix with a dense one is that very loop when the matrix holds a one
for each token. ``compiled`` has it; where that is not there, scipy's own (``csr_matvecs``) takes
about twice the time, and is still 2 to 40 times as fast as any numpy expression. It is private to
scipy, so it serves only after it computed what numpy computes, as ours does. Both give the same
bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.compiled import MODULE
from stillroom_server.inference.engines.base import Float32, Ids, Offsets, Scale
from stillroom_server.inference.native import load_extension
from stillroom_server.inference.tokenizers.base import offsets_of_one

_MODULES = (MODULE, "scipy.sparse._sparsetools")
_ONES = 1 << 16
_NUMPY_ROWS = 8192  # rows that the numpy fallback gathers at once

SumRows = Callable[[Ids, Offsets, Float32, Float32], None]
"""Adds the rows of ids (total,) of each text to ``out`` (n, d): (ids, offsets, table, out)."""


class GatherEngine:
    """Sums rows of a float32 (vocab, d) table, whose unknown token's row is zeros."""

    name = "gather"
    scale = Scale.SUM

    def __init__(self, table: Float32) -> None:
        self._table = np.ascontiguousarray(table, dtype=np.float32)
        self._sum_rows = kernel = _choose_kernel()
        self._sum_one = kernel.of_one(self._table) if isinstance(kernel, CsrKernel) else None
        self.dimensions = int(table.shape[1])
        self.nbytes = int(self._table.nbytes)

    def pool(self, ids: Ids, offsets: Offsets) -> Float32:
        out = np.zeros((len(offsets) - 1, self.dimensions), np.float32)
        if len(ids):
            self._sum_rows(ids, offsets, self._table, out)
        return out

    def pool_one(self, ids: Ids) -> Float32:
        if self._sum_one is None or len(ids) > _ONES:
            return self.pool(ids, offsets_of_one(len(ids))).reshape(-1)
        return self._sum_one(ids)


class CsrKernel:
    """``SumRows`` by the csr_matvecs of a compiled module."""

    def __init__(self, module: Any) -> None:
        self.multiply: Callable[..., None] = module.csr_matvecs
        # Read by all threads, written by none.
        self._ones: npt.NDArray[np.float32] = np.ones(_ONES, np.float32)

    def of_one(self, table: Float32) -> Callable[[Ids], Float32]:
        """Sums the rows of up to 65,536 ids: the same call, of which all but the ids is at hand."""
        multiply, ones, flat = self.multiply, self._ones, table.reshape(-1)
        rows, dimensions = table.shape

        def sum_one(ids: Ids) -> Float32:
            out = np.zeros(dimensions, np.float32)
            multiply(1, rows, dimensions, _ends(len(ids)), ids, ones, flat, out)
            return out

        return sum_one

    def __call__(self, ids: Ids, offsets: Offsets, table: Float32, out: Float32) -> None:
        total = len(ids)
        ones = self._ones[:total] if total <= _ONES else np.ones(total, np.float32)
        # Both index arrays must be of one type, int32 here.
        self.multiply(
            len(out),
            len(table),
            out.shape[1],
            offsets.astype(np.int32),
            ids,
            ones,
            table.reshape(-1),
            out.reshape(-1),
        )


@lru_cache(1024)
def _ends(total: int) -> npt.NDArray[np.int32]:
    """Where the one text ends, as the kernel wants it."""
    ends = offsets_of_one(total).astype(np.int32)
    ends.setflags(write=False)
    return ends


def numpy_sum_rows(ids: Ids, offsets: Offsets, table: Float32, out: Float32) -> None:
    """``SumRows`` in plain numpy: the reference, and the fallback; memory bounded by its chunks."""
    text_of_token = np.repeat(np.arange(len(out)), offsets[1:] - offsets[:-1])
    for start in range(0, len(ids), _NUMPY_ROWS):
        part = slice(start, start + _NUMPY_ROWS)
        texts, first = np.unique(text_of_token[part], return_index=True)
        out[texts] += np.add.reduceat(table[ids[part]], first, axis=0)


def csr_matvecs() -> Callable[..., None] | None:
    """The routine itself, where there is one that is right: its arguments are as ``CsrKernel``
    gives them, with any float32 factors in place of the ones."""
    kernel = _choose_kernel()
    return kernel.multiply if isinstance(kernel, CsrKernel) else None


def _choose_kernel() -> SumRows:
    """The first of the routines that is there and right, else numpy's."""
    for name in _MODULES:
        with contextlib.suppress(Exception):  # any failure of a routine means: do not use it
            kernel = CsrKernel(load_extension(name))
            if _is_right(kernel):
                return kernel
    return numpy_sum_rows


def _is_right(kernel: SumRows) -> bool:
    """Compare with float64 sums on texts of 0 to 40 tokens."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((97, 33)).astype(np.float32)
    lengths = np.concatenate(([0, 1, 0, 2, 40, 0], rng.integers(0, 40, 32), [0]))
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    ids = rng.integers(0, len(table), int(offsets[-1])).astype(np.int32)
    out = np.zeros((len(lengths), table.shape[1]), np.float32)
    kernel(ids, offsets, table, out)
    running = np.concatenate((np.zeros((1, 33)), np.cumsum(table[ids], axis=0, dtype=np.float64)))
    return bool(np.abs(running[offsets[1:]] - running[offsets[:-1]] - out).max() < 1e-4)
