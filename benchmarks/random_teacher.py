"""A BERT of random weights behind another teacher's tokenizer: as much work as a real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

LAYERS, WIDTH, HEADS, INNER = 2, 128, 2, 512
_POSITIONS = 512
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_PIPELINE = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")


def make(like: Path, folder: Path, seed: int = 0) -> Path:
    """Writes it to ``folder``, with the tokenizer and the pooling of the teacher in ``like``."""
    folder.mkdir(parents=True)
    for name in (*_TOKENIZER, *_PIPELINE):
        if (like / name).is_file():
            shutil.copyfile(like / name, folder / name)
    config = json.loads((like / "config.json").read_text())
    config |= {
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": _POSITIONS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    pooling = json.loads((like / "1_Pooling" / "config.json").read_text())
    pooling["word_embedding_dimension"] = WIDTH
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    save_file(_weights(int(config["vocab_size"]), seed), str(folder / "model.safetensors"))
    return folder


def _weights(rows: int, seed: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)

    def norm(name: str) -> dict[str, NDArray[np.float32]]:
        return {
            f"{name}.weight": np.ones(WIDTH, np.float32),
            f"{name}.bias": np.zeros(WIDTH, np.float32),
        }

    def dense(name: str, inner: int, outer: int) -> dict[str, NDArray[np.float32]]:
        return {f"{name}.weight": drawn(outer, inner), f"{name}.bias": drawn(outer)}

    found = {
        "embeddings.word_embeddings.weight": drawn(rows, WIDTH),
        "embeddings.position_embeddings.weight": drawn(_POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": drawn(2, WIDTH),
        **norm("embeddings.LayerNorm"),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            found |= dense(f"{at}.attention.self.{part}", WIDTH, WIDTH)
        found |= dense(f"{at}.attention.output.dense", WIDTH, WIDTH)
        found |= norm(f"{at}.attention.output.LayerNorm")
        found |= dense(f"{at}.intermediate.dense", WIDTH, INNER)
        found |= dense(f"{at}.output.dense", INNER, WIDTH)
        found |= norm(f"{at}.output.LayerNorm")
    return found
