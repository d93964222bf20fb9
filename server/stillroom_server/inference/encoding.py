"""Vectors as bytes, row-major and little-endian: the element types that a request may ask for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.options import ElementType

Float32 = npt.NDArray[np.float32]


class EncodedVectors(NamedTuple):
    """``data`` holds n rows; ``scales`` is float32 (n,) for int8 and None otherwise."""

    data: bytes
    scales: Float32 | None = None


def encode(vectors: Float32, element_type: ElementType) -> EncodedVectors:
    """Encode float32 (n, d) vectors as ``element_type``."""
    match element_type:
        case ElementType.FLOAT32:
            return EncodedVectors(to_float32(vectors))
        case ElementType.FLOAT16:
            return EncodedVectors(to_float16(vectors))
        case ElementType.INT8:
            return to_int8(vectors)
        case ElementType.BINARY:
            return EncodedVectors(to_binary(vectors))


def bytes_per_vector(dimensions: int, element_type: ElementType) -> int:
    """Bytes of one encoded row, an int8 scale included: to refuse an answer before computing it."""
    match element_type:
        case ElementType.FLOAT32:
            return 4 * dimensions
        case ElementType.FLOAT16:
            return 2 * dimensions
        case ElementType.INT8:
            return dimensions + 4
        case ElementType.BINARY:
            return (dimensions + 7) // 8


def to_float32(vectors: Float32) -> bytes:
    """4 * n * d bytes."""
    return vectors.astype("<f4", copy=False).tobytes()


def to_float16(vectors: Float32) -> bytes:
    """2 * n * d bytes; values beyond half precision (unnormalized vectors only) are clamped."""
    limit = np.float32(np.finfo(np.float16).max)
    if vectors.size and max(vectors.max(), -vectors.min()) > limit:
        vectors = np.clip(vectors, -limit, limit)
    return vectors.astype("<f2").tobytes()


def to_int8(vectors: Float32) -> EncodedVectors:
    """n * d bytes and a scale a row: value = integer * scale, scale = the row's max |value| / 127.

    Symmetric, so that a dot product of integers times both scales approximates that of the floats.
    A row of zeros has scale 0.
    """
    peak = np.maximum(vectors.max(axis=1, initial=0.0), -vectors.min(axis=1, initial=0.0))
    scales = (peak / np.float32(127)).astype("<f4")
    # A peak below 127 times the smallest float has scale 0 or a coarse one; zeros are right then.
    usable = scales >= np.finfo(np.float32).tiny
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=usable)
    values = np.rint(vectors * inverse[:, None]).clip(-127, 127).astype(np.int8)
    return EncodedVectors(values.tobytes(), np.where(usable, scales, np.float32(0)))


def to_binary(vectors: Float32) -> bytes:
    """n * ceil(d / 8) bytes: 1 where a value is > 0, most significant bit first, rows padded."""
    return np.packbits(vectors > 0, axis=1).tobytes()
