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
