"""Which texts were seen before, by 64-bit digests in a table of fixed cost."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1 << 16
_AT_ONCE = 1 << 16


def digests(texts: Sequence[bytes]) -> NDArray[np.uint64]:
    """(n,) BLAKE2b of 64 bits. Among 20 million texts two share one with probability 1e-5."""
    joined = b"".join([hashlib.blake2b(text, digest_size=8).digest() for text in texts])
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


class SeenDigests:
    """A set of digests: an open-addressed table, at most three quarters full. It takes up to 22
    bytes a digest, and half as many more for the moment in which it grows."""

    def __init__(self) -> None:
        self._table = np.zeros(_SMALLEST, dtype=np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add (n,) keys; whether each is new: neither in the set nor earlier in ``keys``."""
        keys = np.where(keys == 0, np.uint64(1), keys)  # zero marks a free slot
        self._make_room(len(keys))
        first = np.zeros(len(keys), dtype=np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        where = np.flatnonzero(first)
        new = np.zeros(len(keys), dtype=np.bool_)
        new[where] = _insert(self._table, keys[where])
        self._count += int(new.sum())
        return new

    def _make_room(self, more: int) -> None:
        size = len(self._table)
        while 3 * size < 4 * (self._count + more):
            size *= 2
        if size == len(self._table):
            return
        table = np.zeros(size, dtype=np.uint64)
        for start in range(0, len(self._table), _AT_ONCE):
            part = self._table[start : start + _AT_ONCE]
            _insert(table, part[part != 0])
        self._table = table


def _insert(table: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Put distinct ``keys`` into ``table``, of a power of two slots; whether each was new."""
    mask = np.uint64(len(table) - 1)
    slots = keys & mask
    new = np.zeros(len(keys), dtype=np.bool_)
    open_ = np.arange(len(keys))
    while len(open_):
        found = table[slots[open_]]
        free = open_[found == 0]
        table[slots[free]] = keys[free]  # of several keys for one slot, one gets it
        won = free[table[slots[free]] == keys[free]]
        new[won] = True
        settled = found == keys[open_]
        settled[np.isin(open_, won, assume_unique=True)] = True
        open_ = open_[~settled]
        slots[open_] = (slots[open_] + np.uint64(1)) & mask
    return new
