"""Models on disk with as little in them as facts need, made without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

HIDDEN, LAYERS, INNER, ROWS, POSITIONS = 16, 2, 64, 40, 32
UNUSED = 5


def bert(folder: Path) -> Path:
    """A teacher under sentence-transformers' modules."""
    folder.mkdir(parents=True)
    _json(
        folder / "modules.json",
        [
            {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
    )
    config = {
        "model_type": "bert",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "num_attention_heads": 4,
        "vocab_size": ROWS,
        "max_position_embeddings": POSITIONS,
    }
    _json(folder / "config.json", config)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 24})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words += [f"[unused{n}]" for n in range(UNUSED)]
    words += [f"w{n}" for n in range(ROWS - len(words))]
    _tokenizer(folder, words, added=words[:4])
    save_file(weights(), folder / "model.safetensors")
    return folder


def weights() -> dict[str, np.ndarray]:
    tensors = {
        "embeddings.word_embeddings.weight": np.zeros((ROWS, HIDDEN), np.float32),
        "embeddings.position_embeddings.weight": np.zeros((POSITIONS, HIDDEN), np.float32),
        "embeddings.LayerNorm.weight": np.zeros(HIDDEN, np.float32),
        "embeddings.position_ids": np.zeros((1, POSITIONS), np.int64),
    }
    for layer in range(LAYERS):
        for name in ("query", "key", "value", "output"):
            tensors[f"encoder.{layer}.{name}"] = np.zeros((HIDDEN, HIDDEN), np.float32)
        tensors[f"encoder.{layer}.up"] = np.zeros((INNER, HIDDEN), np.float32)
        tensors[f"encoder.{layer}.down"] = np.zeros((HIDDEN, INNER), np.float32)
    return tensors


def table(folder: Path, rows: int = 30, columns: int = 8, **config: Any) -> Path:
    """A static student, stored as float16."""
    folder.mkdir(parents=True)
    stated = {"model_type": "model2vec", "hidden_dim": columns, "normalize": True, **config}
    _json(folder / "config.json", stated)
    _json(
        folder / "modules.json",
        [{"idx": 0, "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}],
    )
    _tokenizer(folder, ["[UNK]", *(f"w{n}" for n in range(rows - 1))])
    save_file({"embeddings": np.zeros((rows, columns), np.float16)}, folder / "model.safetensors")
    return folder


def head(folder: Path, encoder: str, version: str, labels: int = 3, columns: int = 8) -> Path:
    """A classifier's head, beside what lies in ``folder`` already."""
    folder.mkdir(parents=True, exist_ok=True)
    _json(
        folder / "classifier.json",
        {
            "encoder_kind": encoder,
            "encoder_version": version,
            "labels": [f"l{n}" for n in range(labels)],
            "dimensions": columns,
        },
    )
    save_file(
        {
            "layers.0.weight": np.zeros((labels, columns), np.float32),
            "layers.0.bias": np.zeros(labels, np.float32),
        },
        folder / "classifier.safetensors",
    )
    return folder


def _tokenizer(folder: Path, words: list[str], added: list[str] | None = None) -> None:
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "vocab": {word: place for place, word in enumerate(words)},
    }
    content: Mapping[str, Any] = {
        "model": model,
        "added_tokens": [
            {"id": words.index(word), "content": word, "special": True} for word in added or ()
        ],
        "padding": {"pad_token": "[PAD]"} if added else None,
    }
    _json(folder / "tokenizer.json", content)


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
