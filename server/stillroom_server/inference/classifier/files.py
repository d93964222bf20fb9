"""A classifier on disk: what its folder holds, read once and checked against itself.

    classifier.json         what it is: the JSON of a ClassifierDescription, and beside its fields
                            "format", "encoder_kind" and, with n-gram features, "ngrams"
    classifier.safetensors  layers.{i}.weight (out, in) and layers.{i}.bias (out,), from the
                            vector's side; ngrams.slots, ngrams.prints (S,), ngrams.rows (R + 1, K)

Beside them lies the encoder as it was tuned, unless it is a teacher, which stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from stillroom_registry.errors import DataLoss, StillroomError
from stillroom_server.inference.classifier.description import Description, read_description
from stillroom_server.inference.classifier.head import HeadArrays, NgramArrays
from stillroom_server.inference.classifier.ngrams import MAX_RUN, MAX_SLOTS
from stillroom_server.inference.files import FolderReader
from stillroom_server.inference.tensors import MAX_DIMENSIONS, MAX_TABLE_BYTES, check_header

DESCRIPTION_FILE = "classifier.json"
TENSORS_FILE = "classifier.safetensors"
FORMAT = 1
MAX_LAYERS = 9
MAX_LABELS = 10_000
_MAX_DESCRIPTION_BYTES = 32 << 20
_OURS = ("format", "encoder_kind", "ngrams")  # beside the description's own fields


class EncoderKind(StrEnum):
    """What a classifier's vectors come from."""

    STATIC = "static"  # a student that is a table of rows
    TRANSFORMER = "transformer"  # a student that is a graph
    TEACHER = "teacher"  # somewhere else: the folder holds the head alone


@dataclass(frozen=True)
class ClassifierFiles:
    """The checked content of a classifier's folder, its encoder aside.

    ``stated`` is the JSON of the ClassifierDescription as it was written, ``description`` what
    serving reads of it.
    """

    folder: Path
    encoder: EncoderKind
    stated: Mapping[str, Any]
    description: Description
    head: HeadArrays

    @classmethod
    def load(cls, folder: Path, *, blame: type[StillroomError] = DataLoss) -> ClassifierFiles:
        """Read and check the classifier in ``folder``; raises ``blame`` naming the file."""
        reader = FolderReader(folder, blame)
        content = reader.json(DESCRIPTION_FILE, _MAX_DESCRIPTION_BYTES)
        if content.get("format") != FORMAT:
            problem = f"is of the format {str(content.get('format'))[:50]!r}, not {FORMAT}"
            raise reader.error(DESCRIPTION_FILE, problem, "FORMAT_UNKNOWN")
        try:
            encoder = EncoderKind(content.get("encoder_kind", ""))
            stated = {key: value for key, value in content.items() if key not in _OURS}
            description = read_description(stated)
            lengths = _lengths(content.get("ngrams"))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as failure:
            problem = f"does not describe a classifier ({failure})"
            raise reader.error(DESCRIPTION_FILE, problem, "DESCRIPTION_INVALID") from failure
        head = _read_head(reader, lengths)
        for what, said, found in (
            ("dimensions", description.dimensions, head.dimensions),
            ("labels", len(description.labels), head.outputs),
        ):
            if said != found:
                problem = f"says {said} {what}, {TENSORS_FILE} has {found}"
                raise reader.error(DESCRIPTION_FILE, problem, "DESCRIPTION_INVALID")
        if head.ngrams is not None and encoder is not EncoderKind.STATIC:
            problem = "has n-gram features on an encoder that is no static student"
            raise reader.error(DESCRIPTION_FILE, problem, "DESCRIPTION_INVALID")
        return cls(folder, encoder, stated, description, head)


def describe(
    stated: Mapping[str, Any], encoder: EncoderKind, head: HeadArrays
) -> Mapping[str, Any]:
    """The content of classifier.json; ``stated`` is the JSON of the ClassifierDescription."""
    runs = head.ngrams
    ngrams = {} if runs is None else {"ngrams": {"min_n": runs.min_n, "max_n": runs.max_n}}
    return {"format": FORMAT, "encoder_kind": encoder.value, **ngrams, **stated}


def tensors_of(head: HeadArrays) -> dict[str, npt.NDArray[Any]]:
    """The tensors of classifier.safetensors."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for i, (weights, bias) in enumerate(head.layers):
        tensors[f"layers.{i}.weight"] = np.ascontiguousarray(weights.T, np.float32)
        tensors[f"layers.{i}.bias"] = np.ascontiguousarray(bias, np.float32)
    if head.ngrams is not None:
        tensors["ngrams.slots"] = np.ascontiguousarray(head.ngrams.slots, np.int32)
        tensors["ngrams.prints"] = np.ascontiguousarray(head.ngrams.prints, np.int32)
        tensors["ngrams.rows"] = np.ascontiguousarray(head.ngrams.rows, np.float32)
    return tensors


def _lengths(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    least, most = value["min_n"], value["max_n"]
    if type(least) is not int or type(most) is not int or not 1 <= least <= most <= MAX_RUN:
        raise ValueError(f"ngrams are not of 1 to {MAX_RUN} tokens")
    return least, most


def _read_head(reader: FolderReader, lengths: tuple[int, int] | None) -> HeadArrays:
    """Raises ``reader.blame`` with reason SAFETENSORS_CORRUPT, TENSOR_MISSING, TENSOR_TYPE,
    TENSOR_SHAPE, TENSOR_TOO_LARGE, TENSOR_NOT_FINITE or SLOTS_INVALID."""
    from safetensors import SafetensorError, safe_open

    check_header(reader, TENSORS_FILE)
    try:
        with safe_open(reader.path(TENSORS_FILE), framework="numpy") as file:
            arrays = _Arrays(reader, file)
            layers = arrays.layers()
            if lengths is None:
                return HeadArrays(layers)
            return HeadArrays(layers, arrays.ngrams(lengths, len(layers[-1][1])))
    except (SafetensorError, OSError, ValueError) as failure:
        problem = f"is corrupt ({failure})"
        raise reader.error(TENSORS_FILE, problem, "SAFETENSORS_CORRUPT") from failure


class _Arrays:
    """The tensors of one opened file; memory-mapped, so only what is read is loaded."""

    def __init__(self, reader: FolderReader, file: Any) -> None:
        self._reader = reader
        self._file = file
        self._names = set(file.keys())

    def layers(self) -> tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], ...]:
        count = sum(name.startswith("layers.") and name.endswith(".bias") for name in self._names)
        if not 1 <= count <= MAX_LAYERS:
            self._refuse("layers", f"are {count}, not 1 to {MAX_LAYERS}", "TENSOR_MISSING")
        layers = []
        width = None
        for i in range(count):
            weights = self._tensor(f"layers.{i}.weight", "F32", 2)
            bias = self._tensor(f"layers.{i}.bias", "F32", 1)
            if weights.shape != (len(bias), weights.shape[1] if width is None else width):
                self._refuse(
                    f"layers.{i}.weight",
                    f"has the shape {weights.shape}, which does not fit its neighbors",
                    "TENSOR_SHAPE",
                )
            width = len(bias)
            layers.append((np.ascontiguousarray(weights.T), bias))
        if width is not None and width > MAX_LABELS:
            problem = f"has {width} outputs, the limit is {MAX_LABELS}"
            self._refuse(f"layers.{count - 1}.bias", problem, "TENSOR_TOO_LARGE")
        return tuple(layers)

    def ngrams(self, lengths: tuple[int, int], labels: int) -> NgramArrays:
        slots = self._tensor("ngrams.slots", "I32", 1)
        prints = self._tensor("ngrams.prints", "I32", 1)
        rows = self._tensor("ngrams.rows", "F32", 2)
        size = len(slots)
        if size & (size - 1) or size > MAX_SLOTS or prints.shape != slots.shape:
            problem = f"has {size} slots for {len(prints)} prints; both are one power of two"
            self._refuse("ngrams.slots", problem, "SLOTS_INVALID")
        if rows.shape[1] != labels or rows[0].any():
            problem = f"has the shape {rows.shape}, not (n, {labels}), or a first row not of zeros"
            self._refuse("ngrams.rows", problem, "TENSOR_SHAPE")
        if not 0 <= slots.min() <= slots.max() < len(rows):
            self._refuse("ngrams.slots", f"points outside of {len(rows)} rows", "SLOTS_INVALID")
        return NgramArrays(*lengths, slots, prints, rows)

    def _tensor(self, name: str, kind: str, axes: int) -> npt.NDArray[Any]:
        if name not in self._names:
            self._refuse(name, "is missing", "TENSOR_MISSING")
        part = self._file.get_slice(name)
        shape = tuple(part.get_shape())
        if part.get_dtype() != kind:
            self._refuse(name, f"is of type {part.get_dtype()}, not {kind}", "TENSOR_TYPE")
        if len(shape) != axes or 0 in shape or (axes == 2 and shape[1] > MAX_DIMENSIONS):
            self._refuse(name, f"has the shape {shape}", "TENSOR_SHAPE")
        if 4 * int(np.prod(shape, dtype=np.float64)) > MAX_TABLE_BYTES:
            self._refuse(name, f"has more than {MAX_TABLE_BYTES} bytes", "TENSOR_TOO_LARGE")
        array: npt.NDArray[Any] = self._file.get_tensor(name)
        if kind == "F32" and not max(abs(array.max()), abs(array.min())) < 1e12:
            self._refuse(name, "holds NaN, infinite or huge values", "TENSOR_NOT_FINITE")
        return array

    def _refuse(self, tensor: str, problem: str, reason: str) -> NoReturn:
        raise self._reader.error(TENSORS_FILE, f"tensor {tensor} {problem}", reason)
