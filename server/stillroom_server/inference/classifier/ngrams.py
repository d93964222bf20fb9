"""Runs of token ids as features: their hashes, the slots that find them, and sums of their rows.

A run t1..tn has the polynomial hash ((t1 + 1) * M + t2 + 1) * M + ... modulo 2**31 - 1, once for
each of two M (multipliers of Fishman and Moore, 1986, whose products spread well under that
modulus). No leading coefficient is zero, so runs of different lengths are different polynomials.
The first hash, cut to a power of two, is the run's slot; the second, its print, tells it from other
runs of that slot. All of it is int64 arithmetic that an ONNX graph does with standard operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.engines.base import Float32, Ids, Offsets
from stillroom_server.inference.engines.gather import GatherEngine
from stillroom_server.inference.tokenizers.base import offsets_of_one

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

MODULUS = 2**31 - 1
MULTIPLIERS = (742_938_285, 950_706_376)
MAX_RUN = 5  # tokens
MAX_SLOTS = 1 << 24

_MULTIPLIERS: Int64 = np.array(MULTIPLIERS, np.int64)[:, None]
_SLOTS_PER_RUN = 8  # at least; about one run in sixteen then finds its slot taken
_TOKENS_AT_ONCE = 1 << 20
_FEW_TOKENS = 64


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
        self.arrays = arrays
        self._min, self._max = arrays.min_n, arrays.max_n
        self._slots = np.ascontiguousarray(arrays.slots)
        self._prints = np.ascontiguousarray(arrays.prints)
        self._slot_view = self._slots.data  # whose elements are made into int five times as
        self._print_view = self._prints.data  # fast as an array's
        self._mask = len(arrays.slots) - 1
        self._gather = GatherEngine(arrays.rows)
        self.nbytes = self._gather.nbytes + self._slots.nbytes + self._prints.nbytes

    def counted(self, ids: Ids, offsets: Offsets) -> tuple[Int32, Offsets]:
        """The rows of the counted runs of n texts of flat token ids, cut to length already.

        Returns rows int32 (m,), none 0, and offsets int64 (n + 1,) of each text in them. A run that
        occurs twice is there twice.
        """
        if len(offsets) == 2 and len(ids) <= _FEW_TOKENS:
            few = np.array(self._of_few(ids), np.int32)
            return few, offsets_of_one(len(few))
        parts = [self._of_many(i, o) for i, o in blocks(ids, offsets)]
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(rows) for rows, _ in parts)])
        ends = [o[1:] + start for (_, o), start in zip(parts, starts, strict=False)]
        return (
            np.concatenate([rows for rows, _ in parts]) if parts else np.zeros(0, np.int32),
            np.concatenate([np.zeros(1, np.int64), *ends]),
        )

    def of_one(self, ids: Ids) -> list[int]:
        """The rows of the counted runs of one text."""
        if len(ids) <= _FEW_TOKENS:
            return self._of_few(ids)
        rows: list[int] = self._of_many(ids, offsets_of_one(len(ids)))[0].tolist()
        return rows

    def sums(self, ids: Ids, offsets: Offsets) -> Float32:
        """float32 (n, K): the sum of the rows of each text's counted runs, divided by the square
        root of their number."""
        rows, ends = self.counted(ids, offsets)
        out = self._gather.pool(rows, ends)
        if len(ends) == 2:
            if len(rows) > 1:
                out *= float(len(rows)) ** -0.5
            return out
        counts = np.maximum(ends[1:] - ends[:-1], 1).astype(np.float32)
        out *= (1 / np.sqrt(counts))[:, None]
        return out

    def _of_few(self, ids: Ids) -> list[int]:
        """One short text: numpy's fixed costs are more than all of this. Prints are made of what
        has a row alone."""
        slots, prints, mask = self._slot_view, self._print_view, self._mask
        multiplier, other = MULTIPLIERS
        found = []
        hashes = values = [token + 1 for token in ids.tolist()]
        for n in range(1, min(self._max, len(values)) + 1):
            if n > 1:
                hashes = [
                    (run * multiplier + value) % MODULUS
                    for run, value in zip(hashes, values[n - 1 :], strict=False)
                ]
            if n >= self._min:
                for start, run in enumerate(hashes):
                    row = slots[run & mask]
                    if row:
                        mark = values[start]
                        for value in values[start + 1 : start + n]:
                            mark = (mark * other + value) % MODULUS
                        if prints[run & mask] == mark:
                            found.append(row)
        return found

    def _of_many(self, ids: Ids, offsets: Offsets) -> tuple[Int32, Offsets]:
        total, width = len(ids), self._max - self._min + 1
        # Position by position, so that flat rows come text by text.
        found = np.zeros((total, width), np.int32)
        left = np.repeat(offsets[1:], offsets[1:] - offsets[:-1]) - np.arange(total)
        for n, (hashes, prints) in run_hashes(ids, self._max):
            if n >= self._min:
                slots = hashes & self._mask
                rows: Int32 = self._slots.take(slots, mode="wrap")  # unlike "raise" without a copy
                rows *= self._prints.take(slots, mode="wrap") == prints
                rows *= left[: len(rows)] >= n
                found[: len(rows), n - self._min] = rows
        flat = found.reshape(-1)
        places = np.flatnonzero(flat)
        ends: Offsets = np.searchsorted(places, offsets * width).astype(np.int64)
        return flat[places], ends


def run_hashes(ids: Ids, max_n: int) -> Iterator[tuple[int, Int64]]:
    """Yield n and the int64 (2, total - n + 1) hash and print of the runs of n tokens that begin
    at each of flat ids (total,), for n from 1 while there are any. Texts are not told apart."""
    values = ids.astype(np.int64) + 1
    hashes: Int64 = np.broadcast_to(values, (2, len(values)))
    for n in range(1, min(max_n, len(values)) + 1):
        if n > 1:
            hashes = hashes[:, :-1] * _MULTIPLIERS
            hashes += values[n - 1 :]
            _reduce(hashes)
        yield n, hashes


def _reduce(values: Int64) -> None:
    """``values %= MODULUS`` for what is at least 0, in place and in a third of the time: 2**31 is 1
    modulo 2**31 - 1, so the bits above the lowest 31 are added to those."""
    for _ in range(2):
        high = values >> 31
        values &= MODULUS
        values += high
    values -= (values >= MODULUS) * np.int64(MODULUS)


def blocks(
    ids: Ids, offsets: Offsets, tokens: int = _TOKENS_AT_ONCE
) -> Iterator[tuple[Ids, Offsets]]:
    """Yield (ids, offsets) of consecutive texts of about so many tokens at most, or of one longer
    one; the whole of a list that is no longer."""
    texts = len(offsets) - 1
    if offsets[-1] - offsets[0] <= tokens:
        yield ids[offsets[0] : offsets[-1]], offsets - offsets[0]
        return
    first = 0
    while first < texts:
        end = int(np.searchsorted(offsets, offsets[first] + tokens, side="right")) - 1
        end = min(max(end, first + 1), texts)
        yield ids[offsets[first] : offsets[end]], offsets[first : end + 1] - offsets[first]
        first = end


class RunCounts(NamedTuple):
    """Distinct runs of ``min_n`` to ``max_n`` tokens: hashes and prints int64 (u,), and counts
    int64 (u,) of the texts that have each; sorted by hash, then print."""

    min_n: int
    max_n: int
    hashes: Int64
    prints: Int64
    counts: Int64


def count_runs(
    ids: Ids, offsets: Offsets, min_n: int, max_n: int, *, limit: int = MAX_SLOTS
) -> RunCounts:
    """Count in how many of n texts of flat token ids each run occurs.

    Beyond ``limit`` distinct runs the rarest are forgotten as the texts go by, so that memory stays
    bounded; among equals those of higher hashes.
    """
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part, ends in blocks(ids, offsets):
        keys, counts = _merged(keys, counts, *_counted_once(part, ends, min_n, max_n))
        if len(keys) > limit:
            kept = np.sort(np.argsort(-counts, kind="stable")[:limit])
            keys, counts = keys[kept], counts[kept]
    return RunCounts(min_n, max_n, keys >> 31, keys & MODULUS, counts)


def _counted_once(ids: Ids, offsets: Offsets, min_n: int, max_n: int) -> tuple[Int64, Int64]:
    """Sorted keys (hash and print in one integer) and in how many texts each occurs."""
    lengths = offsets[1:] - offsets[:-1]
    texts = np.repeat(np.arange(len(lengths)), lengths)
    left = np.repeat(offsets[1:], lengths) - np.arange(len(ids))
    keys, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for n, (hashes, prints) in run_hashes(ids, max_n):
        if n >= min_n:
            whole = left[: len(hashes)] >= n
            keys.append((hashes[whole] << 31) | prints[whole])
            owners.append(texts[: len(hashes)][whole])
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.lexsort((owner, key))
    key, owner = key[order], owner[order]
    first = np.ones(len(key), np.bool_)
    first[1:] = (key[1:] != key[:-1]) | (owner[1:] != owner[:-1])
    return _summed(key[first], np.ones(int(first.sum()), np.int64))


def _merged(keys: Int64, counts: Int64, more: Int64, more_counts: Int64) -> tuple[Int64, Int64]:
    if not len(keys):
        return more, more_counts
    key, count = np.concatenate((keys, more)), np.concatenate((counts, more_counts))
    order = np.argsort(key, kind="stable")
    return _summed(key[order], count[order])


def _summed(keys: Int64, counts: Int64) -> tuple[Int64, Int64]:
    """Distinct keys of sorted ones, and the sums of their counts."""
    if not len(keys):
        return keys, counts
    starts = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(counts, starts)


def choose_runs(runs: RunCounts, *, max_features: int, min_count: int = 1) -> NgramArrays:
    """Choose the runs that are features: those in at least ``min_count`` texts.

    Where there are more than ``max_features``, seven in eight features go to the most frequent runs
    and the rarer ones share the rest by hashing. Of runs of one slot the more frequent is kept,
    among equals that of the lower hash. Features are numbered from the most frequent.
    """
    kept = np.flatnonzero(runs.counts >= min_count)
    kept = kept[np.argsort(-runs.counts[kept], kind="stable")]  # the most frequent first
    kept = kept[: MAX_SLOTS // 2]
    size = 1024
    while size < _SLOTS_PER_RUN * len(kept) and size < MAX_SLOTS:
        size *= 2
    places = runs.hashes[kept] & (size - 1)
    _, first = np.unique(places, return_index=True)  # the first of a slot is its most frequent
    first.sort()
    chosen, places = kept[first], places[first]
    features = np.arange(len(chosen))
    if len(chosen) > max_features:
        shared = max(1, max_features // 8)
        own = max_features - shared
        features[own:] = own + runs.prints[chosen[own:]] % shared
        _, features = np.unique(features, return_inverse=True)  # without those that nobody got
    slots, prints = np.zeros(size, np.int32), np.zeros(size, np.int32)
    slots[places] = features + 1
    prints[places] = runs.prints[chosen]
    count = int(features.max(initial=-1)) + 1
    return NgramArrays(runs.min_n, runs.max_n, slots, prints, np.zeros((count + 1, 0), np.float32))
