"""Runs of token ids as features: their hashes, the slots that find them, and sums of their rows.

A run t1..tn has the polynomial hash ((t1 + 1) * M + t2 + 1) * M + ... modulo 2**31 - 1, once for
each of two M (multipliers of Fishman and Moore, 1986, whose products spread well under that
modulus). No leading coefficient is zero, so runs of different lengths are different polynomials.
The first hash, cut to a power of two, is the run's slot; the second, its print, tells it from other
runs of that slot. All of it is int64 arithmetic that an ONNX graph does with standard operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.engines.base import Float32, Ids, Offsets
from stillroom_server.inference.engines.gather import GatherEngine, csr_matvecs
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
        self._min, self._max = arrays.min_n, arrays.max_n
        self._slots = _packed(arrays.slots, arrays.prints)
        self._slot_view = self._slots.data  # its elements become int five times as fast
        self._mask = len(self._slots) - 1
        self._gather = GatherEngine(arrays.rows)
        self._table = np.ascontiguousarray(arrays.rows, np.float32)
        self._multiply = csr_matvecs()
        self.nbytes = self._gather.nbytes + self._slots.nbytes

    def counted(self, ids: Ids, offsets: Offsets) -> tuple[Int32, Offsets]:
        """The rows of the counted runs of n texts of flat token ids, cut to length already.

        Returns rows int32 (m,), none 0, and offsets int64 (n + 1,) of each text in them. A run that
        occurs twice is there twice.
        """
        if len(offsets) == 2 and len(ids) <= _FEW_TOKENS:
            few = np.array(self._of_few(ids), np.int32)
            return few, offsets_of_one(len(few))
        if len(ids) <= _TOKENS_AT_ONCE:
            return self._of_many(ids, offsets)
        parts = [self._of_many(i, o) for i, o in blocks(ids, offsets)]
        starts = np.cumsum([0, *(len(rows) for rows, _ in parts)])
        ends = [o[1:] + start for (_, o), start in zip(parts, starts, strict=False)]
        return (
            np.concatenate([rows for rows, _ in parts]),
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
        out = np.zeros((len(offsets) - 1, self._table.shape[1]), np.float32)
        self.add_sums(ids, offsets, out)
        return out

    def add_sums(self, ids: Ids, offsets: Offsets, out: Float32) -> None:
        """Add those to ``out``, contiguous."""
        rows, ends = self.counted(ids, offsets)
        counts = ends[1:] - ends[:-1]
        shares = (1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
        if self._multiply is None:
            out += self._gather.pool(rows, ends) * shares[:, None]
            return
        self._multiply(
            len(out),
            *self._table.shape,
            ends.astype(np.int32),
            rows,
            shares.repeat(counts),
            self._table.reshape(-1),
            out.reshape(-1),
        )

    def _of_few(self, ids: Ids) -> list[int]:
        """One short text: numpy's fixed costs are more than all of this."""
        if self._min == self._max == 2:
            return self._pairs_of_few(ids)
        slots, mask = self._slot_view, self._mask
        first, second = MULTIPLIERS
        found: list[int] = []
        hashes = prints = values = [token + 1 for token in ids.tolist()]
        for n in range(1, min(self._max, len(values)) + 1):
            if n > 1:
                last = values[n - 1 :]
                pairs = zip(hashes, last, strict=False)
                hashes = [(run * first + value) % MODULUS for run, value in pairs]
                pairs = zip(prints, last, strict=False)
                prints = [(run * second + value) % MODULUS for run, value in pairs]
            if n >= self._min:
                found += [
                    entry >> 31
                    for run, mark in zip(hashes, prints, strict=True)
                    if (entry := slots[run & mask]) & MODULUS == mark
                ]
        return found

    def _pairs_of_few(self, ids: Ids) -> list[int]:
        """The same of the runs that trainings choose: two thirds of the time."""
        slots, mask = self._slot_view, self._mask
        first, second = MULTIPLIERS
        found: list[int] = []
        before = 0
        for token in ids.tolist():
            after = token + 1
            entry = slots[(before * first + after) % MODULUS & mask]
            if entry & MODULUS == (before * second + after) % MODULUS and before:
                found.append(entry >> 31)
            before = after
        return found

    def _of_many(self, ids: Ids, offsets: Offsets) -> tuple[Int32, Offsets]:
        whole = np.ones(len(ids), np.bool_)  # whether the run that begins there is of one text
        parts: list[tuple[Int32, Int64]] = []
        for n, (hashes, prints) in run_hashes(ids, self._min, self._max):
            for last in range(1 if n == self._min else n - 1, n):
                # Also of texts that begin before there are so many tokens: that counts from the
                # end, and no run of n begins at the last ones.
                whole[offsets - last] = False
            entries = self._slots.take(hashes & self._mask, mode="wrap")  # "raise" would copy
            fits = (entries & MODULUS) == prints
            fits &= whole[: len(fits)]
            places = fits.nonzero()[0]
            parts.append(((entries.take(places) >> 31).astype(np.int32), places))
        if len(parts) == 1:
            rows, places = parts[0]
            return rows, places.searchsorted(offsets)
        return _merged_by_place(parts, offsets)


def _merged_by_place(
    parts: Sequence[tuple[Int32, Int64]], offsets: Offsets
) -> tuple[Int32, Offsets]:
    """Rows and places of each length as one list: text by text, position by position."""
    width = len(parts)
    rows = np.concatenate([np.zeros(0, np.int32), *(rows for rows, _ in parts)])
    places = np.concatenate(
        [np.zeros(0, np.int64), *(p * width + i for i, (_, p) in enumerate(parts))]
    )
    order = places.argsort(kind="stable")
    return rows[order], places[order].searchsorted(offsets * width)


def _packed(slots: Int32, prints: Int32) -> Int64:
    """(S,): rows and prints side by side, so that looking one up is one access to memory. A slot
    without a row, or whose print no run has, gets the print that no hash is."""
    nobody = (slots <= 0) | (prints < 0)
    return np.where(nobody, MODULUS, slots.astype(np.int64) << 31 | prints)


def run_hashes(ids: Ids, min_n: int, max_n: int) -> Iterator[tuple[int, Int64]]:
    """Yield n and the int64 (2, total - n + 1) hash and print of the runs of n tokens that begin
    at each of flat ids (total,), for n from ``min_n`` while there are any. Texts are not told
    apart."""
    values = ids.astype(np.int64) + 1
    if min_n == 1 and len(values):
        yield 1, np.stack((values, values))
    hashes = values[None]
    for n in range(2, min(max_n, len(values)) + 1):
        hashes = hashes[:, :-1] * _MULTIPLIERS
        hashes += values[n - 1 :]
        _reduce(hashes)
        if n >= min_n:
            yield n, hashes


def _reduce(values: Int64) -> None:
    """``values %= MODULUS`` for what is from 0 to 2**61, in place and in a fifth of the time.

    2**31 is 1 modulo 2**31 - 1, so the bits above the lowest 31 are added to those: that leaves
    less than twice the modulus, which one of the same more takes away, if there is a bit to add.
    """
    high = values >> 31
    values &= MODULUS
    values += high
    np.add(values, 1, out=high)
    high >>= 31
    values += high
    values &= MODULUS


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
    for n, (hashes, prints) in run_hashes(ids, min_n, max_n):
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
