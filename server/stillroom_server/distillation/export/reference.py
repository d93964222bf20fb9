"""What a static student computes, in float64: the yardstick that every other form is held to.

Deliberately apart from the engines that serve: a yardstick that shares their code shares their
faults.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from stillroom_registry.errors import DataLoss, FailedPrecondition, InvalidArgument

STORED_TYPES = ("float32", "float16", "int8")
COUNT_UNKNOWN = "count_unknown"  # true in config.json: unknown words are averaged like all others
# model2vec cuts a text at this many tokens when its config is silent.
DEFAULT_MAX_TOKENS = 512


@dataclass(frozen=True)
class StudentArrays:
    """A student as its files state it.

    ``table`` (rows, d) in the stored type; ``weights`` (vocabulary,) float32 or None; ``mapping``
    (vocabulary,) int64 token id -> row, or None; ``unk_id`` the token that counts for nothing, or
    None where the tokenizer has no unknown; ``max_tokens`` None means never cut.
    """

    table: NDArray[Any]
    weights: NDArray[np.float32] | None
    mapping: NDArray[np.int64] | None
    unk_id: int | None
    normalize: bool
    max_tokens: int | None
    tokenizer_json: str

    @property
    def vocabulary_size(self) -> int:
        return len(self.mapping) if self.mapping is not None else len(self.table)

    @property
    def dimensions(self) -> int:
        return int(self.table.shape[1])

    @property
    def element_type(self) -> str:
        return str(self.table.dtype)

    @classmethod
    def read(cls, folder: Path) -> StudentArrays:
        """Reads the folder of a student (layout of model2vec 0.10).

        Raises DataLoss for a file that is missing or damaged, FailedPrecondition for an element
        type that no engine here reads, InvalidArgument for tensors that contradict each other.
        """
        config = _read_json(folder / "config.json")
        tokenizer_json = _read_text(folder / "tokenizer.json")
        tensors = read_tensors(folder / "model.safetensors")
        if "embeddings" not in tensors:
            raise InvalidArgument(
                "model.safetensors has no tensor 'embeddings', only "
                f"{', '.join(sorted(tensors)) or 'none'}",
                reason="STUDENT_TENSOR_MISSING",
            )
        weights, mapping = tensors.get("weights"), tensors.get("mapping")
        max_tokens = config.get("max_length", DEFAULT_MAX_TOKENS)
        arrays = cls(
            table=tensors["embeddings"],
            weights=None if weights is None else weights.astype(np.float32),
            mapping=None if mapping is None else mapping.astype(np.int64),
            unk_id=None
            if config.get(COUNT_UNKNOWN)
            else unknown_id(load_tokenizer(tokenizer_json)),
            normalize=bool(config.get("normalize", False)),
            max_tokens=None if max_tokens is None else int(max_tokens),
            tokenizer_json=tokenizer_json,
        )
        arrays._check()
        return arrays

    def vectors(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Token ids, already cut to length -> (n, d) float64: the mean over known tokens,
        normalized if the student says so; zeros where no token is known."""
        out = np.zeros((len(ids), self.dimensions), dtype=np.float64)
        for row, tokens in enumerate(ids):
            known = np.array([t for t in tokens if t != self.unk_id], dtype=np.int64)
            if not len(known):
                continue
            picked = known if self.mapping is None else self.mapping[known]
            vectors = self.table[picked].astype(np.float64)
            if self.weights is not None:
                vectors *= self.weights[known].astype(np.float64)[:, None]
            out[row] = vectors.mean(axis=0)
            norm = float(np.linalg.norm(out[row]))
            if self.normalize and norm > 0:
                out[row] /= norm
        return out

    def _check(self) -> None:
        if self.element_type not in STORED_TYPES:
            raise FailedPrecondition(
                f"the student's table is {self.element_type}; save it as one of "
                f"{', '.join(STORED_TYPES)} and import it again",
                reason="UNSUPPORTED_ELEMENT_TYPE",
                metadata={"element_type": self.element_type},
            )
        if self.table.ndim != 2 or 0 in self.table.shape:
            raise _contradiction(
                f"'embeddings' has shape {self.table.shape}, not (rows, dimensions)"
            )
        if self.mapping is not None and (
            self.mapping.ndim != 1
            or not len(self.mapping)
            or self.mapping.min() < 0
            or self.mapping.max() >= len(self.table)
        ):
            raise _contradiction("'mapping' points outside the rows of 'embeddings'")
        if self.weights is not None and self.weights.shape != (self.vocabulary_size,):
            raise _contradiction(
                f"'weights' has shape {self.weights.shape}, "
                f"the vocabulary {self.vocabulary_size} tokens"
            )
        for name, array in (("embeddings", self.table), ("weights", self.weights)):
            if array is not None and array.dtype != np.int8 and not np.isfinite(array).all():
                raise _contradiction(f"'{name}' holds values that are not finite")


def load_tokenizer(tokenizer_json: str) -> Tokenizer:
    """A tokenizer that neither cuts nor pads. Raises DataLoss when the text is none."""
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the Rust side raises bare Exception
        raise DataLoss(
            f"tokenizer.json does not load: {error}", reason="TOKENIZER_CORRUPT"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id that stands for an unknown piece, None if the tokenizer knows every byte."""
    model = tokenizer.model
    if hasattr(model, "unk_token"):  # WordPiece, BPE, WordLevel
        return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
    unk_id = json.loads(tokenizer.to_str())["model"].get("unk_id")  # Unigram states an id
    return None if unk_id is None else int(unk_id)


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int | None) -> list[list[int]]:
    """Ids of each text without special tokens, cut to ``max_tokens``."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids[:max_tokens] for encoding in encodings]


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a safetensors file. Raises DataLoss for a missing or damaged one, and
    FailedPrecondition for an element type that NumPy does not know (bfloat16, float8)."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataLoss(f"{path.name} cannot be read: {error}", reason="WEIGHTS_CORRUPT") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FailedPrecondition(
            f"{path.name} holds an element type that a student cannot have; save it as one of "
            f"{', '.join(STORED_TYPES)}",
            reason="UNSUPPORTED_ELEMENT_TYPE",
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataLoss(f"{path.name} cannot be read: {error}", reason="FILE_CORRUPT") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path))
    except ValueError as error:
        raise DataLoss(f"{path.name} is not JSON: {error}", reason="FILE_CORRUPT") from error
    if not isinstance(value, dict):
        raise DataLoss(f"{path.name} is not a JSON object", reason="FILE_CORRUPT")
    return value


def _contradiction(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"model.safetensors contradicts itself: {what}", reason="STUDENT_TENSORS_INVALID"
    )
