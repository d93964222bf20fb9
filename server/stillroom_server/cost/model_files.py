"""The files of a model, read as far as its sizes: JSON and the headers of weight files."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from stillroom_registry.errors import DataLoss, FailedPrecondition
from stillroom_registry.registry import ModelVersion, Registry

_MOST_JSON = 64 << 20
_MOST_HEADER = 100 << 20  # the safetensors format's own limit
_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64", "I8": "int8"}
_INDICES = ("I64", "U64", "BOOL")
_UNUSED = re.compile(r"\[unused\d+\]")
# Configurations spell these in several ways; the first that is there counts.
_LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_WIDTH = ("hidden_size", "dim", "d_model", "n_embd")
_INNER = ("intermediate_size", "hidden_dim", "d_ff", "n_inner")
_HEADS = ("num_attention_heads", "n_heads", "num_heads", "n_head")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_len")
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Tensor:
    """As the header says: ``dtype`` as the format names it."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """``rows`` of the token table; ``multiplied``: parameters but for the tables; ``size``: bytes
    of the weights; ``max_tokens`` 0: not stated; ``dimensions`` of the vectors."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    rows: int
    parameters: int
    multiplied: int
    size: int
    max_tokens: int
    dimensions: int
    element_type: str


@dataclass(frozen=True, slots=True)
class TableShape:
    """``tokens`` have ``rows`` among them, which are as many unless tokens share them."""

    rows: int
    columns: int
    tokens: int
    elements: int
    size: int
    element_type: str


@dataclass(frozen=True, slots=True)
class Head:
    """A classifier beside its encoder. ``teacher``: the version that it is asked with, empty where
    the encoder lies beside the head."""

    teacher: str
    labels: int
    dimensions: int
    elements: int
    size: int


class ModelFiles:
    """Files by their paths with '/'. Raises DataLoss for those that are damaged."""

    def __init__(self, sizes: Mapping[str, int], opener: Callable[[str], BinaryIO]) -> None:
        self._sizes = sizes
        self._open = opener

    @classmethod
    def of_version(cls, registry: Registry, version: ModelVersion) -> ModelFiles:
        """Those of a registered version."""
        sizes = {file.path: file.size for file in version.files}
        return cls(sizes, lambda path: registry.open_file(version, path))

    @classmethod
    def of_folder(cls, folder: Path) -> ModelFiles:
        """Those in a folder."""
        sizes = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file()
        }
        return cls(sizes, lambda path: (folder / path).open("rb"))

    @property
    def total_bytes(self) -> int:
        return sum(self._sizes.values())

    @property
    def count(self) -> int:
        return len(self._sizes)

    @property
    def is_transformer(self) -> bool:
        """Whether a student is one, by what sentence-transformers is told of it."""
        return any(str(kind).endswith("Transformer") for kind, _ in self._modules())

    def size_under(self, folder: str) -> int:
        return sum(size for path, size in self._sizes.items() if path.startswith(folder))

    def transformer(self) -> TransformerShape:
        """Raises FailedPrecondition where the configuration states no width or layers."""
        modules = self._modules()
        at = next((place for kind, place in modules if str(kind).endswith("Transformer")), "")
        config = self._json(f"{at}config.json")
        hidden, layers = _stated(config, _WIDTH), _stated(config, _LAYERS)
        weights = self._weights(at)
        tensors = [tensor for path in weights for tensor in self._header(path).items()]
        with _sound("the weights"):
            counted = [(name, tensor) for name, tensor in tensors if tensor.dtype not in _INDICES]
            total = sum(tensor.elements for _, tensor in counted)
            tables = sum(t.elements for name, t in counted if "embed" in name and _is_table(t))
            widest = max(counted, key=lambda each: each[1].elements, default=None)
            rows = _optional(config, ("vocab_size",)) or 0
        dimensions = hidden
        for kind, place in modules:
            if str(kind).endswith("Dense"):
                own = self._json(f"{place}config.json", optional=True)
                dimensions = _optional(own, ("out_features",)) or dimensions
        return TransformerShape(
            layers=layers,
            hidden=hidden,
            intermediate=_optional(config, _INNER) or 4 * hidden,
            heads=_optional(config, _HEADS) or 0,
            rows=rows or (widest[1].shape[0] if widest else 0),
            parameters=total,
            multiplied=max(0, total - tables),
            size=sum(self._sizes[path] for path in weights),
            max_tokens=self._max_tokens(at, config),
            dimensions=dimensions,
            element_type=_TYPES.get(widest[1].dtype, "float32") if widest else "float32",
        )

    def table(self) -> TableShape:
        """Of a static student."""
        header = self._header(_WEIGHTS)
        with _sound(_WEIGHTS):
            stored = header["embeddings"]
            rows, columns = stored.shape
            tokens = header["mapping"].shape[0] if "mapping" in header else rows
            elements = sum(t.elements for t in header.values() if t.dtype not in _INDICES)
            name = _TYPES.get(stored.dtype, "float32")
            return TableShape(rows, columns, tokens, elements, self._sizes[_WEIGHTS], name)

    def table_max_tokens(self) -> int:
        """0: no limit."""
        value = self._json("config.json").get("max_length", 512)
        return value if type(value) is int and value > 0 else 0

    def head(self) -> Head:
        """Of a classifier."""
        stated = self._json("classifier.json")
        header = self._header("classifier.safetensors")
        with _sound("classifier.json"):
            on_teacher = stated.get("encoder_kind") == "teacher"
            return Head(
                teacher=str(stated["encoder_version"]) if on_teacher else "",
                labels=len(stated["labels"]),
                dimensions=int(stated["dimensions"]),
                elements=sum(t.elements for t in header.values() if t.dtype not in _INDICES),
                size=self._sizes["classifier.safetensors"],
            )

    def vocabulary(self) -> tuple[int, int]:
        """How many tokens of tokenizer.json a static student keeps by default (neither added ones,
        but for the unknown and the padding token, nor reserved ones), and how many are reserved.
        Zeros where there is none of a kind that is known."""
        content = self._json("tokenizer.json", optional=True)
        with _sound("tokenizer.json"):
            model = content.get("model") or {}
            listed = model.get("vocab") or ()
            unigram = model.get("type") == "Unigram"
            tokens = {str(entry[0]) for entry in listed} if unigram else set(map(str, listed))
            keep = {model.get("unk_token"), (content.get("padding") or {}).get("pad_token")}
            if unigram and model.get("unk_id") is not None:
                keep.add(str(listed[model["unk_id"]][0]))
            added = {str(token["content"]) for token in content.get("added_tokens") or ()}
        rest = tokens - (added - keep)
        unused = sum(_UNUSED.match(token) is not None for token in rest)
        return len(rest) - unused, unused

    def _modules(self) -> list[tuple[str, str]]:
        listed = self._json("modules.json", optional=True)
        with _sound("modules.json"):
            return [
                (str(item["type"]), f"{item['path']}/" if item["path"] not in ("", ".") else "")
                for item in listed
            ]

    def _weights(self, at: str) -> list[str]:
        if f"{at}{_WEIGHTS}" in self._sizes:
            return [f"{at}{_WEIGHTS}"]
        index = self._json(f"{at}model.safetensors.index.json", optional=True)
        with _sound("model.safetensors.index.json"):
            names = sorted({f"{at}{name}" for name in (index.get("weight_map") or {}).values()})
        return [name for name in names if name in self._sizes]

    def _max_tokens(self, at: str, config: Mapping[str, Any]) -> int:
        settings = self._json(f"{at}sentence_bert_config.json", optional=True)
        return _optional(settings, ("max_seq_length",)) or _optional(config, _POSITIONS) or 0

    def _json(self, path: str, *, optional: bool = False) -> Any:
        if optional and path not in self._sizes:
            return {}
        with _sound(path), self._open(path) as stream:
            if self._sizes.get(path, 0) > _MOST_JSON:
                raise ValueError(f"it is larger than {_MOST_JSON:,} bytes")
            return json.loads(stream.read())

    def _header(self, path: str) -> dict[str, Tensor]:
        with _sound(path), self._open(path) as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if not 2 <= length <= _MOST_HEADER:
                raise ValueError("its header has no sensible length")
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            return {
                name: Tensor(str(entry["dtype"]), tuple(map(int, entry["shape"])))
                for name, entry in header.items()
            }


@contextmanager
def _sound(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DataLoss(
            f"{what} cannot be read for an estimate ({error}); fetch the model again",
            reason="FILE_CORRUPT",
            metadata={"file": what},
        ) from error


def _is_table(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2


def _optional(config: Any, names: tuple[str, ...]) -> int | None:
    found = (config.get(name) for name in names) if isinstance(config, Mapping) else ()
    return next((value for value in found if type(value) is int and value > 0), None)


def _stated(config: Any, names: tuple[str, ...]) -> int:
    value = _optional(config, names)
    if value is None:
        raise FailedPrecondition(
            f"the model's config.json has no {names[0]}; what it takes cannot be estimated",
            reason="UNSUPPORTED_ARCHITECTURE",
            field="model",
        )
    return value
