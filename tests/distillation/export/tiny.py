"""Students small enough for a test: three tokenizer families, a random table, any element type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

from stillroom_server.distillation.export.student_folder import write_student

WORDS = """
the a an of to and in is was for on with as by at from this that which not are be it or
have has had were their they you we he she his her its but about other into more some time
could when what there been one all would will can if no out up so said water people
language river mountain sunlight kitchen distillation embedding vocabulary sentence
teacher student register telephone astronomy musician strawberry keyboard umbrella
notebook elephant hospital question
""".split()  # noqa: SIM905
SUFFIXES = ("##s", "##ed", "##ing", "##er", "##ly", "##tion", "##ness")
TEXTS = (
    "the river and the mountain",
    "The Teacher registered a student!",
    "a zebra in the kitchen",  # 'zebra' is unknown to WordPiece and in pieces elsewhere
    "日本語 only",
    "question question question telephone",
    "sunlight on water, astronomy and a strawberry; umbrella notebooks",
    "qqqq the qqqq elephant qqqq",
)
UNKNOWN_ONLY = "日本 語語"
LONG_TEXT = " ".join((WORDS * 7)[:512])


def wordpiece() -> Tokenizer:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *SUFFIXES, ",", "!", ";"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    return tokenizer


def bpe() -> Tokenizer:
    """Byte-level: every byte is known."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=500,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([LONG_TEXT] * 3, trainer)
    return tokenizer


def bpe_with_unknown() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = BpeTrainer(vocab_size=300, show_progress=False, special_tokens=["<pad>", "<unk>"])
    tokenizer.train_from_iterator([LONG_TEXT] * 3, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    pieces = [(f"▁{word}", -3.0 - i / 50) for i, word in enumerate(WORDS)]
    letters = [(letter, -9.0) for letter in "▁abcdefghijklmnoprstuvwxy,!;"]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces, *letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


TOKENIZERS = {
    "wordpiece": wordpiece,
    "bpe": bpe,
    "bpe_unk": bpe_with_unknown,
    "unigram": unigram,
}


def table_for(tokenizer: Tokenizer, dimensions: int = 24, seed: int = 0) -> np.ndarray:
    """A row a token, lengths spread over three decades as SIF weights spread them."""
    rng = np.random.default_rng(seed)
    size = tokenizer.get_vocab_size()
    rows = rng.standard_normal((size, dimensions)) * np.logspace(-2, 1, size)[:, None]
    return rows.astype(np.float32)


def write_tiny(
    folder: Path,
    *,
    family: str = "wordpiece",
    element_type: str = "float32",
    normalize: bool = True,
    max_tokens: int | None = 512,
    dimensions: int = 24,
    **extra: Any,
) -> np.ndarray:
    """Writes a student; returns the table that it was given."""
    tokenizer = TOKENIZERS[family]()
    table = table_for(tokenizer, dimensions)
    arguments: dict[str, Any] = {
        "config_extra": {"apply_pca": dimensions},
        "card": {"title": "tiny"},
        "lineage": {"teacher": "models/teacher/versions/1"},
        **extra,
    }
    write_student(
        folder,
        table=table,
        tokenizer_json=tokenizer.to_str(),
        element_type=element_type,
        normalize=normalize,
        max_tokens=max_tokens,
        **arguments,
    )
    return table


def add_tensors(folder: Path, **tensors: np.ndarray) -> None:
    """Replaces or adds tensors of model.safetensors."""
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    save_file({**load_file(path), **tensors}, path)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
