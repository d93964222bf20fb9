"""Small students for tests, written as files the way a distillation would, and naive arithmetic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

WORDS = [
    *("the", "card", "has", "not", "arrived", "yet", "and", "i", "am", "still", "waiting", "for"),
    *("my", "new", "bank", "account", "money", "transfer", "please", "help", "me", "to", "change"),
    *("pin", "code", "exchange", "rate", "fee", "was", "charged", "twice", "top", "up", "failed"),
]
PIECES = ["##s", "##ing", "##ed", "##er", "##ly", "un", "##a", "##b", *".,?!12"]


def wordpiece(words: Sequence[str] = WORDS) -> str:
    """A BERT-like tokenizer.json: lower case, accents stripped, unknown token 1."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    for token in [*words, *PIECES, *"abcdefghijklmnopqrstuvwxyz", "é", "漢"]:
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    return str(tokenizer.to_str())


def unigram() -> str:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, unk_token="<unk>", special_tokens=["<s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    return str(tokenizer.to_str())


def byte_bpe() -> str:
    """Byte-level BPE: no unknown token at all."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    return str(tokenizer.to_str())


def write_student(
    folder: Path,
    *,
    tokenizer_json: str | None = None,
    dimensions: int = 24,
    dtype: str = "float32",
    weights: bool = False,
    mapping: bool = False,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    tensors: Mapping[str, npt.NDArray[Any] | None] | None = None,
) -> Path:
    """Write a student and return its folder; ``tensors`` replaces arrays, None drops them."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = tokenizer_json or wordpiece()
    tokenizer = Tokenizer.from_str(spec)
    size = tokenizer.get_vocab_size()
    rng = np.random.default_rng(seed)
    rows = size if not mapping else size // 2
    table = rng.standard_normal((rows, dimensions)).astype(np.float32)
    arrays: dict[str, npt.NDArray[Any]] = {"embeddings": table}
    if mapping:
        arrays["mapping"] = rng.integers(0, rows, size)
    if weights or dtype == "int8":
        arrays["weights"] = rng.uniform(0.1, 2, size).astype(np.float32)
    unk = tokenizer.token_to_id("[UNK]")
    if not mapping and unk is not None:
        table[unk] = 0
    scaled = np.rint(table * 40).clip(-127, 127) if dtype == "int8" else table
    arrays["embeddings"] = scaled.astype(dtype)
    for name, array in (tensors or {}).items():
        if array is None:
            arrays.pop(name)
        else:
            arrays[name] = array
    save_file(arrays, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(spec, encoding="utf-8")
    settings = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": dimensions,
        "normalize": True,
        "max_length": 512,
        **(config or {}),
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def naive_vector(
    folder: Path,
    text: str,
    *,
    max_tokens: int = 512,
    left: bool = False,
    normalize: bool = True,
    dimensions: int | None = None,
) -> npt.NDArray[np.float64]:
    """The vector of one text, token by token in float64: the definition, in as many words."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    spec = json.loads((folder / "tokenizer.json").read_text())["model"]
    unk = spec.get("unk_id")
    if unk is None and spec.get("unk_token") is not None:
        unk = tokenizer.token_to_id(spec["unk_token"])
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    ids = ids[-max_tokens:] if left else ids[:max_tokens]
    total = np.zeros(arrays["embeddings"].shape[1])
    known = 0
    for token in ids:
        if token == unk:
            continue
        row = arrays["mapping"][token] if "mapping" in arrays else token
        weight = float(arrays["weights"][token]) if "weights" in arrays else 1.0
        total += weight * arrays["embeddings"][row].astype(np.float64)
        known += 1
    vector = (total / max(known, 1))[:dimensions]
    norm = np.linalg.norm(vector)
    return vector / norm if normalize and norm else vector
