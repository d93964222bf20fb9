"""Protobuf fields written by hand, so that a block of vectors is copied once.

Setting a block in a message, the message in another, and serializing that copies it three times.
Here only the pieces before and after the block are made, and all are joined at the end. The
encoding is that of https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_VARINT, _LENGTH_DELIMITED = 0, 2
FEW = 128
"""So many values are sooner worked on as a list: an array's operation costs a microsecond or more
before it begins, and several where its code is in no cache."""


@lru_cache(4096)  # the sizes of answers recur
def varint(value: int) -> bytes:
    """A non-negative integer, seven bits a byte, the low ones first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def tag(number: int) -> bytes:
    """What begins the field ``number`` of a message, string or bytes type; then comes its size."""
    return varint(number << 3 | _LENGTH_DELIMITED)


def integer(number: int, value: int) -> bytes:
    """The field ``number`` of an integer type; nothing for 0, as proto3 wants it."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


def field(tag: bytes, content: bytes) -> bytes:
    """A whole field of a message, string or bytes type."""
    return tag + varint(len(content)) + content


def opened(tag: bytes, begin: bytes, rest: int) -> bytes:
    """The beginning of a field that holds ``begin`` and then ``rest`` bytes not given here."""
    return tag + varint(len(begin) + rest) + begin


def varints(values: npt.NDArray[np.integer]) -> bytes:
    """The content of a packed field of an integer type: (n,) non-negative integers."""
    if len(values) <= FEW:
        return varints_of(values.tolist())
    most = int(values.max())
    if most < 0x80:
        return values.astype(np.uint8).tobytes()
    shifts = np.arange(0, most.bit_length(), 7)
    digits = values.astype(np.int64)[:, None] >> shifts
    kept = digits > 0
    kept[:, 0] = True
    encoded = (digits & 0x7F).astype(np.uint8)
    encoded[:, :-1] |= kept[:, 1:].astype(np.uint8) << 7  # more follow
    return encoded[kept].tobytes()


def varints_of(values: list[int]) -> bytes:
    """The same of a list."""
    if max(values, default=0) < 0x80:
        return bytes(values)
    return b"".join(map(varint, values))


def packed(tag: bytes, content: bytes) -> bytes:
    """A whole packed field; nothing where it holds no value, as proto3 wants it."""
    return field(tag, content) if content else b""
