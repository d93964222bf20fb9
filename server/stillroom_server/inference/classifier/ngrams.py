"""Runs of token ids as features: the slots that find them, and sums of their rows.

The first hash of a run, cut to a power of two, is its slot; the second, its print, tells it from
other runs of that slot. See ``run_hashes``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.classifier.found_runs import Found, find_runs
from stillroom_server.inference.classifier.run_hashes import MODULUS
from stillroom_server.inference.engines.base import Float32, Ids, Offsets
from stillroom_server.inference.engines.gather import GatherEngine, csr_matvecs

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

MAX_RUN = 5  # tokens
MAX_SLOTS = 1 << 24


@dataclass(frozen=True)
class NgramArrays:
    """What finds the features of runs of ``min_n`` to ``max_n`` tokens, and what they add.

    slots int32 (S,), S a power of two: the row of the run of that slot, 0 where there is none;
    prints int32 (S,); rows float32 (R + 1, K), row 0 zeros: what a run adds to the scores of K
    labels. ``choose_runs`` leaves rows of no columns: training makes them.
    """

    min_n: int
    max_n: int
    slots: Int32
    prints: Int32
    rows: Float32

    @property
    def features(self) -> int:
        return len(self.rows) - 1


class Ngrams:
    """Finds the counted runs of texts. Safe under any threads."""

    def __init__(self, arrays: NgramArrays) -> None:
        self._min, self._max = arrays.min_n, arrays.max_n
        self._slots = _packed(arrays.slots, arrays.prints)
        self._gather = GatherEngine(arrays.rows)
        self._table = np.ascontiguousarray(arrays.rows, np.float32)
        self._find = find_runs()
        self._multiply = csr_matvecs()
        self.nbytes = self._gather.nbytes + self._slots.nbytes

    def counted(self, ids: Ids, offsets: Offsets) -> tuple[Int32, Offsets]:
        """The rows of the counted runs of n texts of flat token ids, cut to length already.

        Returns rows int32 (m,), none 0, and offsets int64 (n + 1,) of each text in them. A run that
        occurs twice is there twice.
        """
        rows, ends, _ = self._found(ids, offsets)
        return rows, ends.astype(np.int64)

    def sums(self, ids: Ids, offsets: Offsets) -> Float32:
        """float32 (n, K): the sum of the rows of each text's counted runs, divided by the square
        root of their number."""
        out = np.zeros((len(offsets) - 1, self._table.shape[1]), np.float32)
        self.add_sums(ids, offsets, out)
        return out

    def add_sums(self, ids: Ids, offsets: Offsets, out: Float32) -> None:
        """Add those to ``out``, contiguous."""
        rows, ends, shares = self._found(ids, offsets)
        if self._multiply is None:
            counts = np.maximum(np.diff(ends), 1)
            means = self._gather.pool(rows, ends.astype(np.int64)) / np.sqrt(counts)[:, None]
            out += means.astype(np.float32)
            return
        flat, table = out.reshape(-1), self._table
        self._multiply(len(out), *table.shape, ends, rows, shares, table.reshape(-1), flat)

    def _found(self, ids: Ids, offsets: Offsets) -> Found:
        return self._find(ids, offsets, self._slots, self._min, self._max)


def _packed(slots: Int32, prints: Int32) -> Int64:
    """(S,): rows and prints side by side, so that looking one up is one access to memory. A slot
    without a row, or whose print no run has, gets the print that no hash is."""
    nobody = (slots <= 0) | (prints < 0)
    return np.where(nobody, MODULUS, slots.astype(np.int64) << 31 | prints)
