"""Hashes of runs of token ids.

A run t1..tn has the polynomial hash ((t1 + 1) * M + t2 + 1) * M + ... modulo 2**31 - 1, once for
each of two M (multipliers of Fishman and Moore, 1986, whose products spread well under that
modulus). No leading coefficient is zero, so runs of different lengths are different polynomials.
All of it is int64 arithmetic that an ONNX graph does with standard operators.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.engines.base import Ids, Offsets

Int64 = npt.NDArray[np.int64]

MODULUS = 2**31 - 1
MULTIPLIERS = (742_938_285, 950_706_376)
TOKENS_AT_ONCE = 1 << 20

_MULTIPLIERS: Int64 = np.array(MULTIPLIERS, np.int64)[:, None]


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
    ids: Ids, offsets: Offsets, tokens: int = TOKENS_AT_ONCE
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
