"""Folders to import: small, made of the right files, with nothing in them that takes time."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from distillation.export.tiny import wordpiece
from safetensors.numpy import save_file

CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "max_position_embeddings": 64,
    "vocab_size": wordpiece().get_vocab_size(),
}
POOLING = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        path.write_text(value if isinstance(value, str) else json.dumps(value))


def transformer(folder: Path, **config: Any) -> Path:
    """A plain Hugging Face encoder."""
    write(folder / "config.json", {**CONFIG, **config})
    write(folder / "tokenizer.json", wordpiece().to_str())
    write(folder / "tokenizer_config.json", {"model_max_length": 48})
    rows = np.ones((CONFIG["vocab_size"], 8), dtype=np.float32)
    tensors = {"embeddings.word_embeddings.weight": rows, "positions": np.arange(64)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def modules(folder: Path, *types: str) -> None:
    """modules.json of the given types, each in its numbered folder but for the first."""
    listed = [
        {
            "idx": number,
            "name": str(number),
            "path": "" if number == 0 else f"{number}_{name.rpartition('.')[2]}",
            "type": name if "." in name else f"sentence_transformers.models.{name}",
        }
        for number, name in enumerate(types)
    ]
    write(folder / "modules.json", listed)


def teacher(folder: Path, *, dense: bool = False) -> Path:
    """A sentence-transformers model of three or four modules."""
    transformer(folder)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    write(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": "query: "}, "default_prompt_name": None},
    )
    write(folder / "1_Pooling/config.json", POOLING)
    if dense:
        modules(folder, "Transformer", "Pooling", "Dense", "Normalize")
        write(folder / "2_Dense/config.json", {"in_features": 8, "out_features": 5, "bias": True})
        tensors = {"linear.weight": np.ones((5, 8), dtype=np.float32)}
        save_file(tensors, folder / "2_Dense/model.safetensors")
    else:
        modules(folder, "Transformer", "Pooling", "Normalize")
    return folder


def static(
    folder: Path, table: np.ndarray, *, nested: bool = False, normalize: bool = True
) -> Path:
    """A StaticEmbedding as sentence-transformers saves it."""
    place = folder / "0_StaticEmbedding" if nested else folder
    kind = "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
    modules(folder, kind, *(["Normalize"] if normalize else []))
    if nested:
        listed = json.loads((folder / "modules.json").read_text())
        listed[0]["path"] = "0_StaticEmbedding"
        write(folder / "modules.json", listed)
    tokenizer = wordpiece()
    tokenizer.no_padding()
    write(place / "tokenizer.json", tokenizer.to_str())
    write(folder / "config_sentence_transformers.json", {"prompts": {}})
    write(folder / "README.md", "---\nlicense: mit\n---\n# theirs\n")
    save_file({"embedding.weight": table}, place / "model.safetensors")
    return folder


def safetensors(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with any header, also a wrong one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
