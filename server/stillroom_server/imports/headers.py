"""The header of a safetensors file, checked against the file before anything trusts it.

Format: 8 bytes, little-endian, the header's length; the header, JSON; then the tensors, without a
gap. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.errors import InvalidArgument

_LARGEST_HEADER = 100_000_000  # the format's own limit
_LFS_POINTER = b"version https://git-lfs"
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
_BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
_BITS |= {"I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_INDICES = {"I64", "U64", "BOOL"}
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64", "I8": "int8"}


@dataclass(frozen=True)
class TensorInfo:
    """What the header says of a tensor; ``dtype`` as the format names it (F32, BF16, I8)."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of the file by name; nothing but the header is read.

    Raises InvalidArgument(WEIGHTS_CORRUPT) unless lengths, types, shapes and offsets agree with
    each other and with the size of the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(8)
            if (head + stream.read(15)).startswith(_LFS_POINTER):
                raise _corrupt(path, "it is a pointer of git-lfs; run git lfs pull")
            stream.seek(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise _corrupt(path, "its header is cut off or has no sensible length")
            header = json.loads(stream.read(length), object_pairs_hook=_no_twins)
        header.pop("__metadata__", None)
        return _tensors(path, header, size - 8 - length)
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise _corrupt(path, f"its header is not that of a safetensors file ({error})") from error


def parameters(headers: Iterable[dict[str, TensorInfo]]) -> int:
    """The number of elements of all floating-point and quantized tensors."""
    return sum(_counts(headers).values())


def main_type(headers: Iterable[dict[str, TensorInfo]]) -> str:
    """The type that most elements have, by its usual name (float32, bfloat16)."""
    counts = _counts(headers)
    dtype = counts.most_common(1)[0][0] if counts else ""
    return _NAMES.get(dtype, dtype.lower())


def _counts(headers: Iterable[dict[str, TensorInfo]]) -> Counter[str]:
    """Elements by type, but for those of indices and masks, which nobody trained."""
    counts: Counter[str] = Counter()
    for header in headers:
        for tensor in header.values():
            if tensor.dtype not in _INDICES:
                counts[tensor.dtype] += tensor.elements
    return counts


def _tensors(path: Path, header: dict[str, Any], body: int) -> dict[str, TensorInfo]:
    found, spans = {}, []
    for name, entry in header.items():
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
        if dtype not in _BITS or not all(type(n) is int and n >= 0 for n in numbers):
            raise _corrupt(path, f"the tensor {name[:100]!r} has no sensible type, shape or place")
        if (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
            raise _corrupt(path, f"the tensor {name[:100]!r} has another size than its shape")
        found[name] = TensorInfo(dtype, tuple(shape))
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise _corrupt(path, "its tensors overlap or leave a gap")
        position = end
    if position != body:
        raise _corrupt(path, f"its tensors need {position:,} bytes, and {body:,} are there")
    return found


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)


def _corrupt(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{path.name} is damaged: {why}; fetch the model again",
        reason="WEIGHTS_CORRUPT",
        field="source",
        metadata={"file": path.name},
    )
