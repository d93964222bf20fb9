"""A student on disk: what its folder holds, read once and checked against itself.

    config.json         normalize, max_length, prompts
    tokenizer.json      Hugging Face tokenizers; post-processor, truncation and padding are dropped
    model.safetensors   embeddings (rows, d), optional weights (vocab,) and mapping (vocab,)
    stillroom.json      optional; its prompts go before those of config.json
    onnx/model.onnx     optional; not read here

The vector of a text is the mean of weights[id] * embeddings[mapping[id]] over its known tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom_registry.errors import DataLoss, StillroomError
from stillroom_server.inference.files import FolderReader
from stillroom_server.inference.tensors import read_tensors
from stillroom_server.inference.vocabulary import Vocabulary, read_vocabulary

MAX_CONFIG_BYTES = 1 << 20
MAX_TOKENIZER_BYTES = 64 << 20
MAX_STILLROOM_BYTES = 16 << 20
COUNT_UNKNOWN = "count_unknown"  # true in config.json: unknown words are averaged like all others
DEFAULT_MAX_TOKENS = 512  # model2vec's default when config.json names none
UNLIMITED_MAX_TOKENS = 1_000_000  # what a max_length of null stands for


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """The checked content of a student's folder.

    table (rows, d) float32, float16 or int8; weights float32 (vocab,) or None; mapping int64
    (vocab,) or None; unk_id the token that counts for nothing, None when the tokenizer has no
    unknown token or the student has a row for it that counts; max_tokens the most
    tokens of a text that count; prompts by name.
    """

    folder: Path
    table: npt.NDArray[Any]
    weights: npt.NDArray[np.float32] | None
    mapping: npt.NDArray[np.int64] | None
    config: Mapping[str, Any]
    tokenizer_json: str
    normalize: bool
    max_tokens: int
    unk_id: int | None
    prompts: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path, *, blame: type[StillroomError] = DataLoss) -> StudentFiles:
        """Read and check the student in ``folder``.

        Raises ``blame`` naming the file: DataLoss for a folder of our own store, InvalidArgument
        for one that somebody hands in.
        """
        reader = FolderReader(folder, blame)
        config = reader.json("config.json", MAX_CONFIG_BYTES)
        vocabulary = read_vocabulary(reader, MAX_TOKENIZER_BYTES)
        tensors = read_tensors(reader, vocabulary.size)
        sources = [("config.json", config)]
        if reader.exists("stillroom.json"):
            sources.append(("stillroom.json", reader.json("stillroom.json", MAX_STILLROOM_BYTES)))
        return cls(
            folder=folder,
            table=tensors.table,
            weights=tensors.weights,
            mapping=tensors.mapping,
            config=config,
            tokenizer_json=plain_tokenizer(vocabulary),
            normalize=_boolean(reader, config, "normalize"),
            max_tokens=_max_tokens(reader, config),
            unk_id=None if _boolean(reader, config, COUNT_UNKNOWN) else vocabulary.unk_id,
            prompts=merge_prompts(reader, *sources),
        )

    @property
    def dimensions(self) -> int:
        return int(self.table.shape[1])

    @property
    def vocabulary_size(self) -> int:
        return len(self.table if self.mapping is None else self.mapping)

    def effective_table(self) -> npt.NDArray[np.float32]:
        """Return float32 (vocab, d): weights and mapping applied, the unknown token's row zeros."""
        rows = self.table if self.mapping is None else self.table[self.mapping]
        table = rows.astype(np.float32)  # always a copy, which numpy puts on huge pages
        if self.weights is not None:
            table *= self.weights[:, None]
        if self.unk_id is not None:
            table[self.unk_id] = 0
        return table


def plain_tokenizer(vocabulary: Vocabulary) -> str:
    """The tokenizer without what would add or cut tokens: that is ours to decide, per request."""
    extras = ("post_processor", "truncation", "padding")
    if not any(vocabulary.spec.get(extra) for extra in extras):
        return vocabulary.text
    return json.dumps({**vocabulary.spec, **dict.fromkeys(extras)}, ensure_ascii=False)


def _boolean(reader: FolderReader, config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise reader.error("config.json", f"{key} is not true or false", "CONFIG_INVALID")
    return value


def _max_tokens(reader: FolderReader, config: Mapping[str, Any]) -> int:
    value = config.get("max_length", DEFAULT_MAX_TOKENS)
    if value is None:
        return UNLIMITED_MAX_TOKENS
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise reader.error("config.json", "max_length is not a positive integer", "CONFIG_INVALID")
    return min(value, UNLIMITED_MAX_TOKENS)


def merge_prompts(
    reader: FolderReader, *sources: tuple[str, Mapping[str, Any]]
) -> Mapping[str, str]:
    """The prompts by name of (file, content) pairs; later ones win. Raises ``reader.blame``."""
    prompts: dict[str, str] = {}
    for file, content in sources:
        found = content.get("prompts") or {}
        if not isinstance(found, dict) or not all(isinstance(p, str) for p in found.values()):
            raise reader.error(file, "prompts is not an object of strings", "CONFIG_INVALID")
        prompts |= found
    return prompts
