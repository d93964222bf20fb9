"""Blocks of vectors as arrays: bytes are looked at, never turned into lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom.errors import Internal
from stillroom.internal.v1.embedding_wire_pb2 import WireEmbeddings, WireVectors


def check(wire: WireEmbeddings, texts: int) -> None:
    """Raises Internal unless the block has ``texts`` rows and all of their bytes."""
    block = wire.vectors
    if block.count != texts:
        raise _malformed(f"{block.count} vectors for {texts} texts")
    if wire.token_counts and len(wire.token_counts) != texts:
        raise _malformed(f"{len(wire.token_counts)} token counts for {texts} texts")
    if wire.truncated and len(wire.truncated) != texts:
        raise _malformed(f"{len(wire.truncated)} truncation flags for {texts} texts")
    data, dtype, columns = _data(block)
    if columns < 0 or len(data) != block.count * columns * dtype.itemsize:
        raise _malformed(f"{len(data)} bytes for {block.count} x {block.dimensions} elements")
    if block.WhichOneof("data") == "int8" and len(block.int8.scales) != 4 * texts:
        raise _malformed(f"{len(block.int8.scales)} bytes of scales for {texts} rows")


def elements(block: WireVectors) -> NDArray[Any]:
    """The block as it was sent: (count, dimensions), or packed bits (count, bytes); read-only."""
    data, dtype, columns = _data(block)
    return np.frombuffer(data, dtype).reshape(block.count, columns)


def scales(block: WireVectors) -> NDArray[np.float32] | None:
    """One scale a row with int8, else None."""
    if block.WhichOneof("data") != "int8":
        return None
    return np.frombuffer(block.int8.scales, "<f4")


def as_float32(block: WireVectors) -> NDArray[np.float32]:
    """The block as numbers: (count, dimensions) float32. Signs become -1 and 1."""
    values = elements(block)
    if block.WhichOneof("data") == "binary":
        bits = np.unpackbits(values, axis=1, count=block.dimensions)
        return bits.astype(np.float32) * 2 - 1
    row_scales = scales(block)
    if row_scales is not None:
        scaled: NDArray[np.float32] = np.multiply(values, row_scales[:, None], dtype=np.float32)
        return scaled
    return values.astype(np.float32, copy=False)


def _data(block: WireVectors) -> tuple[bytes, np.dtype[Any], int]:
    kind = block.WhichOneof("data")
    if kind == "float32":
        return block.float32.values, np.dtype("<f4"), block.dimensions
    if kind == "float16":
        return block.float16, np.dtype("<f2"), block.dimensions
    if kind == "int8":
        return block.int8.values, np.dtype("i1"), block.dimensions
    if kind == "binary":
        return block.binary, np.dtype("u1"), (block.dimensions + 7) // 8
    raise _malformed("no elements, or of a type that this client does not know")


def _malformed(what: str) -> Internal:
    return Internal(
        f"the server's answer makes no sense: {what}. Are client and server of the same version?",
        reason="MALFORMED_ANSWER",
    )


class Rows:
    """Collects blocks into one array that grows in place: memory is bounded by the result.

    ``total`` is the number of rows to come where it is known.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._array: NDArray[Any] | None = None
        self._used = 0

    def add(self, block: NDArray[Any]) -> None:
        """Appends the rows of ``block``; Internal when they differ in width from those before."""
        end = self._used + len(block)
        array = self._array
        if array is None:
            rows = self._total or max(1024, 2 * len(block))
            array = self._array = np.empty((max(rows, end), block.shape[1]), block.dtype)
        elif block.shape[1] != array.shape[1] or block.dtype != array.dtype:
            raise _malformed(
                f"{block.shape[1]} x {block.dtype} after {array.shape[1]} x {array.dtype}"
                " (did an alias move to a model of another width meanwhile?)"
            )
        if end > len(array):
            # refcheck=False: this is the only reference, but a debugger's frame may hold one too.
            array.resize((max(end, len(array) + len(array) // 2), array.shape[1]), refcheck=False)
        array[self._used : end] = block
        self._used = end

    def finish(self) -> NDArray[Any]:
        """All rows."""
        if self._array is None:
            raise AssertionError("finish() needs at least one block")
        if len(self._array) != self._used:
            self._array.resize((self._used, self._array.shape[1]), refcheck=False)
        return self._array
