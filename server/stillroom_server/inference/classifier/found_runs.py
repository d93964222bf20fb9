"""The counted runs of texts: which they are, by compiled code or by numpy, alike.

``FindRuns`` gets ids (total,), offsets int64 (n + 1,), the packed slots int64 (S,), S a power of
two, each row << 31 | print, and the fewest and the most tokens of a run. It returns the rows of the
counted runs int32 (m,), text by text, by their first token, then by their length; where each text
ends in them, int32 (n + 1,); and one over the square root of the number of runs of each one's text,
float32 (m,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.classifier.run_hashes import (
    MODULUS,
    TOKENS_AT_ONCE,
    Int64,
    blocks,
    run_hashes,
)
from stillroom_server.inference.compiled import MODULE
from stillroom_server.inference.engines.base import Float32, Ids, Offsets
from stillroom_server.inference.native import load_extension

Int32 = npt.NDArray[np.int32]
Found = tuple[Int32, Int32, Float32]
FindRuns = Callable[[Ids, Offsets, Int64, int, int], Found]


@lru_cache(1)
def find_runs() -> FindRuns:
    """The compiled way where it is there and right: a fifth of numpy's time."""
    try:
        compiled = compiled_runs()
        right = _is_right(compiled)
    except Exception:  # any failure of it means: do not use it
        return numpy_runs
    return compiled if right else numpy_runs


def compiled_runs() -> FindRuns:
    """Raises ImportError where it is not compiled."""
    find = load_extension(MODULE).find_runs

    def compiled(ids: Ids, offsets: Offsets, slots: Int64, least: int, most: int) -> Found:
        room = len(ids) * (most - least + 1) + 1  # pages that are not written cost nothing
        rows, shares = np.empty(room, np.int32), np.empty(room, np.float32)
        ends = np.empty(len(offsets), np.int32)
        count = find(ids, offsets, slots, ends, rows, shares, least, most)
        return rows[:count], ends, shares[:count]

    return compiled


def numpy_runs(ids: Ids, offsets: Offsets, slots: Int64, least: int, most: int) -> Found:
    """The reference, and the fallback; memory bounded by its blocks."""
    parts = [_block(i, o, slots, least, most) for i, o in blocks(ids, offsets, TOKENS_AT_ONCE)]
    counts = np.concatenate([np.diff(ends) for _, ends in parts])
    shares = (1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
    return (
        np.concatenate([rows for rows, _ in parts]),
        np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        shares.repeat(counts),
    )


def _is_right(find: FindRuns) -> bool:
    """Compare on texts of 0 to 100 of five tokens, whose runs are all in a slot."""
    rng = np.random.default_rng(0)
    offsets = np.array([0, 0, 1, 2, 5, 20, 60, 60, 160])
    ids = rng.integers(0, 5, offsets[-1]).astype(np.int32)
    slots = np.full(256, MODULUS)
    for n, (hashes, prints) in run_hashes(ids, 1, 3):
        slots[hashes & 255] = n << 31 | prints
    return all(
        np.array_equal(ours, theirs)
        for least, most in ((1, 1), (2, 2), (1, 3))
        for ours, theirs in zip(
            find(ids, offsets, slots, least, most),
            numpy_runs(ids, offsets, slots, least, most),
            strict=True,
        )
    )


def _block(
    ids: Ids, offsets: Offsets, slots: Int64, least: int, most: int
) -> tuple[Int32, Offsets]:
    mask = len(slots) - 1
    whole = np.ones(len(ids), np.bool_)  # whether the run that begins there is of one text
    parts: list[tuple[Int32, Int64]] = []
    for n, (hashes, prints) in run_hashes(ids, least, most):
        for last in range(1 if n == least else n - 1, n):
            # Also of texts that begin before there are so many tokens: that counts from the
            # end, and no run of n begins at the last ones.
            whole[offsets - last] = False
        entries = slots.take(hashes & mask, mode="wrap")  # "raise" would copy
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
