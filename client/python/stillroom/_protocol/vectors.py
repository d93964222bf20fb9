"""Blocks of vectors as arrays: bytes are looked at, never turned into lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom.errors import Internal
from stillroom.internal.v1.embedding_wire_pb2 import WireVectors


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """Vectors as they were sent: ``elements`` is (n, d), or (n, bytes) of packed sign bits when
    ``binary``, and read-only; ``scales`` is (n,) float32 with int8, else None."""

    elements: NDArray[Any]
    scales: NDArray[np.float32] | None
    dimensions: int
    binary: bool

    def as_float32(self) -> NDArray[np.float32]:
        """The vectors as numbers: (n, d) float32. Signs become -1 and 1."""
        if self.binary:
            bits = np.unpackbits(self.elements, axis=1, count=self.dimensions)
            return bits.astype(np.float32) * 2 - 1
        if self.scales is not None:
            scaled: NDArray[np.float32] = np.multiply(
                self.elements, self.scales[:, None], dtype=np.float32
            )
            return scaled
        return self.elements.astype(np.float32, copy=False)


def decode(wire: WireVectors, texts: int) -> Block:
    """The block of an answer to so many texts, in one copy; Internal unless it holds that many."""
    if wire.count != texts:
        raise malformed(f"{wire.count} vectors for {texts} texts")
    kind = wire.WhichOneof("data")
    columns = wire.dimensions
    scales: NDArray[np.float32] | None = None
    dtype: np.dtype[Any]
    if kind == "float32":
        data, dtype = wire.float32.values, np.dtype("<f4")
    elif kind == "float16":
        data, dtype = wire.float16, np.dtype("<f2")
    elif kind == "int8":
        data, dtype = wire.int8.values, np.dtype("i1")
        scales = np.frombuffer(_sized(wire.int8.scales, texts, 1, 4), "<f4")
    elif kind == "binary":
        data, dtype = wire.binary, np.dtype("u1")
        columns = (wire.dimensions + 7) // 8
    else:
        raise malformed("no vectors, or of a type that this client does not know")
    data = _sized(data, texts, columns, dtype.itemsize)
    elements = np.frombuffer(data, dtype).reshape(texts, columns)
    return Block(elements, scales, wire.dimensions, kind == "binary")


def _sized(data: bytes, rows: int, columns: int, itemsize: int) -> bytes:
    if columns < 0 or len(data) != rows * columns * itemsize:
        raise malformed(f"{len(data)} bytes for {rows} x {columns} elements of {itemsize} bytes")
    return data


def malformed(what: str) -> Internal:
    """The error of an answer that contradicts itself or its request."""
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
            raise malformed(
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
