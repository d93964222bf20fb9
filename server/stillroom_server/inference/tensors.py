"""The arrays of a student's model.safetensors, checked before they are trusted."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.files import FolderReader

FILE = "model.safetensors"
MAX_HEADER_BYTES = 1 << 20
MAX_DIMENSIONS = 65_536
MAX_TABLE_BYTES = 8 << 30  # of the float32 table that serving builds, mapping applied

_TABLE_TYPES = ("F32", "F16", "I8")
_WEIGHT_TYPES = ("F32", "F16", "F64")
_MAPPING_TYPES = ("I64", "I32")


class StudentTensors(NamedTuple):
    """table (rows, d) float32, float16 or int8; weights float32, mapping int64, both (vocab,)."""

    table: npt.NDArray[Any]
    weights: npt.NDArray[np.float32] | None
    mapping: npt.NDArray[np.int64] | None


def read_tensors(reader: FolderReader, vocabulary_size: int) -> StudentTensors:
    """Read and check the arrays of a student of so many token ids.

    Raises ``reader.blame`` with reason SAFETENSORS_CORRUPT, TENSOR_MISSING, TENSOR_TYPE,
    TENSOR_SHAPE, TENSOR_TOO_LARGE, TENSOR_NOT_FINITE or MAPPING_OUT_OF_RANGE.
    """
    from safetensors import SafetensorError, safe_open

    path = reader.path(FILE)
    check_header(reader, FILE)
    try:
        with safe_open(path, framework="numpy") as file:
            return _Arrays(reader, file).student(vocabulary_size)
    except (SafetensorError, OSError, ValueError) as failure:
        raise reader.error(FILE, f"is corrupt ({failure})", "SAFETENSORS_CORRUPT") from failure


def check_header(reader: FolderReader, file: str) -> None:
    """Refuse an absurd header of a safetensors file before the parser allocates for it."""
    with reader.path(file).open("rb") as stream:
        prefix = stream.read(8)
    if len(prefix) < 8:
        raise reader.error(file, "is shorter than its header", "SAFETENSORS_CORRUPT")
    (length,) = struct.unpack("<Q", prefix)
    if length > MAX_HEADER_BYTES:
        raise reader.error(
            file,
            f"announces a header of {length} bytes, the limit is {MAX_HEADER_BYTES}",
            "SAFETENSORS_CORRUPT",
        )


class _Arrays:
    """The tensors of one opened file; memory-mapped, so only what is read is loaded."""

    def __init__(self, reader: FolderReader, file: Any) -> None:
        self._reader = reader
        self._file = file
        self._names = set(file.keys())

    def student(self, size: int) -> StudentTensors:
        rows = self._row_count(size)
        weights = self._vector("weights", _WEIGHT_TYPES, size)
        mapping = self._vector("mapping", _MAPPING_TYPES, size)
        table = self._file.get_tensor("embeddings")
        if mapping is not None and size and not 0 <= mapping.min() <= mapping.max() < rows:
            self._refuse("mapping", f"points outside of {rows} rows", "MAPPING_OUT_OF_RANGE")
        if not _finite(table):
            self._refuse("embeddings", "holds NaN, infinite or huge values", "TENSOR_NOT_FINITE")
        if weights is not None and not _finite(weights):
            self._refuse("weights", "holds NaN, infinite or huge values", "TENSOR_NOT_FINITE")
        return StudentTensors(
            table,
            None if weights is None else weights.astype(np.float32),
            None if mapping is None else mapping.astype(np.int64),
        )

    def _row_count(self, size: int) -> int:
        if "embeddings" not in self._names:
            self._refuse("embeddings", "is missing: this is no static student", "TENSOR_MISSING")
        shape = self._shape("embeddings", _TABLE_TYPES)
        if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIMENSIONS or not shape[0]:
            self._refuse("embeddings", f"has the shape {shape}, not (rows, d)", "TENSOR_SHAPE")
        if "mapping" not in self._names and shape[0] != size:
            self._refuse(
                "embeddings",
                f"has {shape[0]} rows where tokenizer.json has {size} token ids",
                "TENSOR_SHAPE",
            )
        if 4 * max(size, shape[0]) * shape[1] > MAX_TABLE_BYTES:
            problem = f"needs a table of more than {MAX_TABLE_BYTES} bytes"
            self._refuse("embeddings", problem, "TENSOR_TOO_LARGE")
        return shape[0]

    def _vector(self, name: str, types: tuple[str, ...], size: int) -> npt.NDArray[Any] | None:
        if name not in self._names:
            return None
        shape = self._shape(name, types)
        if shape != (size,):
            problem = f"has the shape {shape} where tokenizer.json has {size} token ids"
            self._refuse(name, problem, "TENSOR_SHAPE")
        array: npt.NDArray[Any] = self._file.get_tensor(name)
        return array

    def _shape(self, name: str, types: tuple[str, ...]) -> tuple[int, ...]:
        part = self._file.get_slice(name)
        if part.get_dtype() not in types:
            wanted = ", ".join(types)
            self._refuse(name, f"is of type {part.get_dtype()}, not {wanted}", "TENSOR_TYPE")
        return tuple(part.get_shape())

    def _refuse(self, tensor: str, problem: str, reason: str) -> NoReturn:
        raise self._reader.error(FILE, f"tensor {tensor} {problem}", reason)


def _finite(array: npt.NDArray[Any]) -> bool:
    """Whether squares of sums of such values still fit float32, so that norms are finite too."""
    if array.dtype == np.int8:
        return True
    if array.dtype == np.float16:  # too small a type to overflow, and slow to compare
        return bool(np.isfinite(array).all())
    peak = max(abs(float(array.max(initial=0))), abs(float(array.min(initial=0))))
    return peak < 1e12  # false for NaN as well
