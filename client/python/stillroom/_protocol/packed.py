"""Packed columns of an answer as arrays: a column is bytes here and never becomes a list."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillroom._protocol.vectors import malformed

# Of a varint: seven bits a byte, least significant first; the eighth says that more follow.
_MORE = 0x80
_BITS = 7
_LONGEST = 10


def floats(data: bytes, count: int, what: str) -> NDArray[np.float32]:
    """``count`` float32; Internal when there are not so many."""
    if len(data) != 4 * count:
        raise _wrong(len(data) // 4, count, what)
    return np.frombuffer(data, "<f4")


def integers(data: bytes, count: int, what: str) -> NDArray[np.int32]:
    """``count`` int32 from varints; Internal when there are not so many, or larger ones."""
    octets = np.frombuffer(data, np.uint8)
    if len(data) == count and data.isascii():  # each of them below 128, as most are
        return octets.astype(np.int32)
    last = octets < _MORE
    ends = np.flatnonzero(last)
    if len(ends) != count or (len(data) and not last[-1]):
        raise _wrong(len(ends), count, what)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max(initial=0) > _LONGEST:
        raise malformed(f"a number of {lengths.max()} bytes among the {what}")
    values = np.zeros(count, np.uint64)
    for place in range(int(lengths.max(initial=0))):
        longer = lengths > place
        bits = octets[starts[longer] + place].astype(np.uint64) & np.uint64(_MORE - 1)
        values[longer] |= bits << np.uint64(_BITS * place)
    signed = values.view(np.int64)
    found = signed.astype(np.int32)
    if not np.array_equal(found, signed):
        raise malformed(f"a number beyond 32 bits among the {what}")
    return found


def flags(data: bytes, count: int, what: str) -> NDArray[np.bool_]:
    """``count`` bool; Internal when there are not so many."""
    found: NDArray[np.bool_] = integers(data, count, what) != 0
    return found


def _wrong(found: int, count: int, what: str) -> Exception:
    return malformed(f"{found} {what} where {count} are due")
