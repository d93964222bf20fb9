"""A static student's folder, as model2vec and sentence-transformers read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.export.card import write_card
from stillroom_server.distillation.export.manifest import write_json, write_manifest
from stillroom_server.distillation.export.quantize import quantize
from stillroom_server.distillation.export.reference import (
    COUNT_UNKNOWN,
    load_tokenizer,
    unknown_id,
)

_MODULES = "sentence_transformers.models"


def write_student(
    folder: Path,
    *,
    table: NDArray[np.float32],
    tokenizer_json: str,
    element_type: str,
    normalize: bool,
    max_tokens: int | None,
    config_extra: Mapping[str, Any],
    card: Mapping[str, Any],
    lineage: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    mapping: NDArray[np.int64] | None = None,
    weights: NDArray[np.float32] | None = None,
    count_unknown: bool = False,
) -> None:
    """Writes config.json, tokenizer.json, model.safetensors, modules.json, README.md and
    stillroom.json.

    ``table`` is (vocabulary, d) float32, a row for every id of the tokenizer; the row of the
    unknown token is stored as zeros, whatever it was: model2vec drops that token,
    sentence-transformers averages its row, and zeros are the only value on which they agree. With
    ``mapping`` and ``weights``, both (vocabulary,), tokens share the rows of a smaller table: token
    i has ``weights[i] * table[mapping[i]]``, and the unknown token a weight of zero.
    ``count_unknown`` keeps its row instead, and averages it as sentence-transformers does. The
    same arguments give the same bytes. ``max_tokens`` None means never cut. ``card`` is as
    ``card.write_card`` takes it.

    A limit of None is the only one on which all readers agree: sentence-transformers never cuts,
    and model2vec first cuts at ``max_tokens`` x (median token length) characters, which long words
    reach before they reach ``max_tokens`` tokens.

    Raises InvalidArgument for a table that does not fit the tokenizer or the element type, DataLoss
    for a tokenizer that does not load.
    """
    if max_tokens is not None and max_tokens < 1:
        raise InvalidArgument(f"max_tokens is {max_tokens}, not positive", field="max_tokens")
    tokenizer = _stripped(tokenizer_json)
    _check_table(table, mapping, weights)
    vocabulary = len(table) if mapping is None else len(mapping)
    _check_ids(tokenizer, vocabulary)
    unk_id = unknown_id(tokenizer)
    if count_unknown:
        config_extra = {**config_extra, COUNT_UNKNOWN: True}
    elif unk_id is not None:
        if weights is None:
            table = table.copy()
            table[unk_id] = 0.0
        else:
            weights = weights.copy()
            weights[unk_id] = 0.0
    stored, scales = quantize(table, element_type)
    tensors: dict[str, NDArray[Any]] = {"embeddings": stored}
    if mapping is not None and weights is not None:
        tensors["mapping"] = np.ascontiguousarray(mapping, dtype=np.int64)
        tensors["weights"] = np.asarray(
            weights if scales is None else weights * scales[mapping], dtype=np.float32
        )
        config_extra = {**config_extra, "vocabulary_quantization": len(table)}
    elif scales is not None:
        tensors["weights"] = scales

    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    write_json(
        folder / "config.json",
        config(table.shape[1], element_type, normalize, max_tokens, config_extra),
    )
    write_json(folder / "modules.json", modules(normalize))
    facts = {
        "Dimensions": table.shape[1],
        "Vocabulary": vocabulary,
        **({} if mapping is None else {"Rows that they share": len(table)}),
        "Stored as": element_type,
        "Normalized": "yes" if normalize else "no",
        "Longest text": "unlimited" if max_tokens is None else f"{max_tokens} tokens",
        "Size of the weights": f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB",
    }
    write_card(folder, card, facts=facts)
    write_manifest(folder, kind="student", lineage=lineage, options=options, metrics=metrics)


def config(
    dimensions: int,
    element_type: str,
    normalize: bool,
    max_tokens: int | None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """config.json as model2vec 0.10 writes it; ``extra`` adds keys, and cannot contradict the
    rest."""
    return {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "seq_length": 1_000_000,  # what model2vec writes for "no limit but max_length"
        **(extra or {}),
        "hidden_dim": int(dimensions),
        "normalize": normalize,
        "max_length": max_tokens,
        "embedding_dtype": element_type,
    }


def modules(normalize: bool) -> list[dict[str, Any]]:
    """modules.json: what sentence-transformers builds from this folder."""
    parts = [{"idx": 0, "name": "0", "path": ".", "type": f"{_MODULES}.StaticEmbedding"}]
    if normalize:
        parts.append(
            {"idx": 1, "name": "1", "path": "1_Normalize", "type": f"{_MODULES}.Normalize"}
        )
    return parts


def _stripped(tokenizer_json: str) -> Tokenizer:
    """Without special tokens around a text, cutting or padding: all three would leak into readers
    that take the file as it is."""
    load_tokenizer(tokenizer_json)  # a clear error before the parts are taken away
    parts = json.loads(tokenizer_json)
    parts["post_processor"] = None
    return load_tokenizer(json.dumps(parts, ensure_ascii=False))


def _check_table(
    table: NDArray[np.float32],
    mapping: NDArray[np.int64] | None,
    weights: NDArray[np.float32] | None,
) -> None:
    if table.ndim != 2 or 0 in table.shape:
        raise InvalidArgument(
            f"the table has shape {table.shape}, not (vocabulary, dimensions)",
            reason="TABLE_INVALID",
        )
    if mapping is None and weights is None:
        return
    if mapping is None or weights is None or not mapping.shape == weights.shape == (len(mapping),):
        raise InvalidArgument(
            "a mapping and weights come together, one of each a token", reason="TABLE_INVALID"
        )
    if len(mapping) and not 0 <= mapping.min() <= mapping.max() < len(table):
        raise InvalidArgument(
            f"the mapping points outside of {len(table)} rows", reason="TABLE_INVALID"
        )


def _check_ids(tokenizer: Tokenizer, size: int) -> None:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    ids = set(vocabulary.values())
    if len(vocabulary) != size or ids != set(range(size)):
        raise InvalidArgument(
            f"the table has {size} rows, the tokenizer {len(vocabulary)} tokens up to id "
            f"{max(ids, default=-1)}: every id from 0 needs exactly one row",
            reason="TABLE_INVALID",
        )
