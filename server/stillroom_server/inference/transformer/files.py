"""A transformer student on disk, in the layout of sentence-transformers.

modules.json                       begins with a Transformer; the graph holds all of them
onnx/model.onnx                    input_ids, attention_mask -> sentence_embedding
tokenizer.json                     with the post-processor that adds the special tokens
config.json                        of the transformer: positions, padding token, hidden size
sentence_bert_config.json          optional: max_seq_length, do_lower_case
config_sentence_transformers.json  optional: prompts and the default one
stillroom.json                     optional; its prompts go before those
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stillroom_registry.errors import DataLoss, StillroomError
from stillroom_server.inference.files import FolderReader
from stillroom_server.inference.student_files import (
    DEFAULT_MAX_TOKENS,
    MAX_CONFIG_BYTES,
    MAX_STILLROOM_BYTES,
    MAX_TOKENIZER_BYTES,
    merge_prompts,
    plain_tokenizer,
)
from stillroom_server.inference.vocabulary import Vocabulary, read_vocabulary

ONNX_FILE = "onnx/model.onnx"
_MODULES = "modules.json"
_PACKAGE = "sentence_transformers."
_UNLIMITED = 1_000_000  # transformers writes 1e30 for "not known"
# These count positions from behind the padding id, so some rows of their table hold no position.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"})


@dataclass(frozen=True, slots=True)
class TransformerFiles:
    """The checked content of a transformer student's folder.

    graph is the file to run; dimensions what the configuration promises, None where it does not
    say; tokenizer_json whole and plain_json without what adds tokens; pools_prompt whether the
    tokens of a prompt count, which is all that the graph can do.
    """

    graph: Path
    tokenizer_json: str
    plain_json: str
    vocabulary_size: int
    pad_id: int
    max_tokens: int
    dimensions: int | None
    prompts: Mapping[str, str]
    default_prompt: str | None
    pools_prompt: bool

    @classmethod
    def load(cls, folder: Path, *, blame: type[StillroomError] = DataLoss) -> TransformerFiles:
        """Read and check the student in ``folder``; raises ``blame`` naming the file."""
        reader = FolderReader(folder, blame)
        modules = _modules(reader)
        inner = FolderReader(folder / modules[0][1], blame)
        config = inner.json("config.json", MAX_CONFIG_BYTES)
        settings = _optional(inner, "sentence_bert_config.json")
        declared = _optional(inner, "tokenizer_config.json").get("model_max_length")
        vocabulary = read_vocabulary(inner, MAX_TOKENIZER_BYTES)
        shared = _optional(reader, "config_sentence_transformers.json")
        prompts = merge_prompts(
            reader,
            ("config_sentence_transformers.json", shared),
            ("stillroom.json", _optional(reader, "stillroom.json", MAX_STILLROOM_BYTES)),
        )
        default = shared.get("default_prompt_name")
        lower = settings.get("do_lower_case") is True
        vocabulary = _lowercased(vocabulary) if lower else vocabulary
        pooling = _pooling(reader, modules)
        return cls(
            graph=reader.path(ONNX_FILE),
            tokenizer_json=vocabulary.text,
            plain_json=plain_tokenizer(vocabulary),
            vocabulary_size=vocabulary.size,
            pad_id=_pad_id(config, vocabulary),
            max_tokens=_max_tokens(settings.get("max_seq_length"), declared, config),
            dimensions=_dimensions(reader, modules, pooling, config),
            prompts=prompts,
            default_prompt=default if isinstance(default, str) and default in prompts else None,
            pools_prompt=pooling.get("include_prompt") is not False,
        )


def is_transformer_student(folder: Path) -> bool:
    """Whether modules.json begins with a Transformer, as a teacher's does, too: the registry knows
    what a version is. False, never an error, for folders that cannot be read.
    """
    try:
        modules = _modules(FolderReader(folder))
    except StillroomError:
        return False
    return modules[0][0] == "Transformer"


def _modules(reader: FolderReader) -> Sequence[tuple[str, str]]:
    """(kind, folder) of each module, at least one; the folder lies inside."""
    text = reader.text(_MODULES, MAX_CONFIG_BYTES)
    try:
        found = [(str(item["type"]), str(item["path"])) for item in json.loads(text)]
    except (ValueError, TypeError, KeyError, RecursionError) as failure:
        raise reader.error(
            _MODULES, f"lists no modules ({failure!r})", "FILE_NOT_JSON"
        ) from failure
    for name, place in found:
        path = PurePosixPath(place)
        if path.is_absolute() or ".." in path.parts or "\0" in place:
            raise reader.error(_MODULES, f"names {place!r}, outside the folder", "CONFIG_INVALID")
        if not name.startswith(_PACKAGE):
            raise reader.error(_MODULES, f"names the foreign module {name!r}", "CONFIG_INVALID")
    if not found:
        raise reader.error(_MODULES, "lists no modules", "CONFIG_INVALID")
    return [(name.rpartition(".")[2], place) for name, place in found]


def _optional(
    reader: FolderReader, name: str, max_bytes: int = MAX_CONFIG_BYTES
) -> Mapping[str, Any]:
    return reader.json(name, max_bytes) if reader.exists(name) else {}


def _lowercased(vocabulary: Vocabulary) -> Vocabulary:
    """The tokenizer with lowercasing in front of its own normalizer."""
    own = vocabulary.spec.get("normalizer")
    steps = [{"type": "Lowercase"}, *([own] if own else [])]
    spec = {**vocabulary.spec, "normalizer": {"type": "Sequence", "normalizers": steps}}
    return vocabulary._replace(text=json.dumps(spec, ensure_ascii=False), spec=spec)


def _pad_id(config: Mapping[str, Any], vocabulary: Vocabulary) -> int:
    padding = vocabulary.spec.get("padding")
    stated = padding.get("pad_id") if isinstance(padding, dict) else None
    for value in (config.get("pad_token_id"), stated):
        if type(value) is int and 0 <= value < vocabulary.size:
            return value
    return 0


def _max_tokens(chosen: Any, declared: Any, config: Mapping[str, Any]) -> int:
    """Where sentence-transformers would cut: special tokens included."""
    limits = [chosen, declared] if chosen is None else [chosen]
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        offset = 0
        if config.get("model_type") in _OFFSET_POSITIONS:
            pad = config.get("pad_token_id")
            offset = (pad if isinstance(pad, int) else 1) + 1
        limits.append(positions - offset)
    numbers = [int(n) for n in limits if isinstance(n, int | float) and 0 < n < _UNLIMITED]
    return min(numbers, default=DEFAULT_MAX_TOKENS)


def _pooling(reader: FolderReader, modules: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    place = next((place for kind, place in modules if kind == "Pooling"), None)
    return {} if place is None else _optional(reader, f"{place}/config.json")


def _dimensions(
    reader: FolderReader,
    modules: Sequence[tuple[str, str]],
    pooling: Mapping[str, Any],
    config: Mapping[str, Any],
) -> int | None:
    """What the last Dense gives, else the pooling: as many hidden vectors as it has modes."""
    for kind, place in reversed(modules):
        if kind == "Dense":
            out = reader.json(f"{place}/config.json", MAX_CONFIG_BYTES).get("out_features")
            return out if type(out) is int else None
    hidden = config.get("hidden_size")
    named = pooling.get("pooling_mode")
    flags = [value for key, value in pooling.items() if key.startswith("pooling_mode_")]
    modes = len(named) if isinstance(named, list) else 1 if named else sum(map(bool, flags)) or 1
    return hidden * modes if type(hidden) is int else None
