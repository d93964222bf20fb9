"""Tiny random teachers of each tokenizer family, saved as transformers and sentence-transformers
save them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "a stillroom is the room of a house where distillates are made and kept",
    "the teacher is large and the student is small, and both read the same words",
    "who made the distillate that the student keeps in the house?",
    "numbers such as 1, 22 and 333 are words too; so are signs!",
    "Größe und Maß, café au lait, naïve résumé",
] * 4
TEXTS = [
    "the quick dog",
    "A student keeps 22 words in the house!",
    "",
    "café Größe unknown 日本語 signs",
    "the teacher is large " * 30,
]
_SPECIAL = {
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "bpe": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "unigram": ["<s>", "<pad>", "</s>", "<unk>"],
    "modern": [],
    "decoder": [],
    "sentencepiece": ["<unk>", "<s>", "</s>"],
}
# What surrounds a text: its first and its last token.
_AROUND = {
    "wordpiece": ("[CLS]", "[SEP]"),
    "bpe": ("<s>", "</s>"),
    "unigram": ("<s>", "</s>"),
    "modern": ("[CLS]", "[SEP]"),
    "decoder": (None, "<|endoftext|>"),
    "sentencepiece": ("<s>", "</s>"),
}
# Each kind of teacher and its family of tokenizers.
_FAMILIES = {
    "bert": "wordpiece",
    "mpnet": "wordpiece",
    "roberta": "bpe",
    "xlm-roberta": "unigram",
    "modernbert": "modern",
    "qwen3": "decoder",
    "llama": "sentencepiece",
}
DECODERS = ("qwen3", "llama")
_HIDDEN, _LAYERS, _HEADS = 32, 2, 4


def tokenizer(family: str) -> Tokenizer:
    """A tokenizer as the family's well-known models build theirs; the same in every call."""
    return Tokenizer.from_str(_trained(family))


@cache
def _trained(family: str) -> str:
    special = _SPECIAL[family]
    if family == "wordpiece":
        result = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        result.normalizer = normalizers.BertNormalizer(lowercase=True)
        result.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        result.decoder = decoders.WordPiece()
        spare = [f"[unused{i}]" for i in range(5)]
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=260, special_tokens=special + spare, show_progress=False
        )
    elif family == "unigram":
        result = Tokenizer(models.Unigram())
        result.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(" {2,}", " ")]
        )
        result.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
        result.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=180, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    elif family == "sentencepiece":  # BPE, as Llama's: unknown letters fall to their bytes
        result = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        result.pre_tokenizer = pre_tokenizers.Metaspace()
        spare = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=500, special_tokens=special + spare, show_progress=False
        )
    else:
        result = Tokenizer(models.BPE())
        result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        result.decoder = decoders.ByteLevel()
        if family in ("modern", "decoder"):
            result.normalizer = normalizers.NFC()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    result.train_from_iterator(CORPUS, trainer)
    first, last = _AROUND[family]
    if family == "modern":  # special tokens behind the vocabulary, and added ones that are not
        result.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
        result.add_tokens(["|||EMAIL|||"])
    elif family == "unigram":
        result.add_special_tokens(["<mask>"])
    elif family == "sentencepiece":  # in use, nothing splits a text: no merge spans two words
        result.pre_tokenizer = None
        result.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    elif family == "decoder":
        result.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    result.post_processor = processors.TemplateProcessing(
        single=" ".join(filter(None, (first, "$A", last))),
        special_tokens=[(t, result.token_to_id(t)) for t in (first, last) if t],
    )
    return _plain(result) if family in ("wordpiece", "sentencepiece") else result.to_str()


def _plain(result: Tokenizer) -> str:
    """The spare tokens are plain entries of the vocabulary in BERT's own file, not added tokens;
    in Llama's, the bytes are."""
    source = json.loads(result.to_str())
    source["added_tokens"] = [
        token
        for token in source["added_tokens"]
        if not token["content"].startswith(("[unused", "<0x"))
    ]
    return json.dumps(source)


def make(kind: str, folder: Path) -> Path:
    """Saves a transformer of a kind in ``_FAMILIES``, and its tokenizer."""
    import transformers as hf

    family = _FAMILIES[kind]
    made = tokenizer(family)
    names = _names(family)
    pad = made.token_to_id(names["pad_token"])
    sizes: dict[str, Any] = {
        "vocab_size": made.get_vocab_size(),
        "hidden_size": _HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "intermediate_size": 64,
        "max_position_embeddings": 80,
        "pad_token_id": pad,
    }
    torch.manual_seed(7)
    config, model = {
        "bert": (hf.BertConfig, hf.BertModel),
        "mpnet": (hf.MPNetConfig, hf.MPNetModel),
        "roberta": (hf.RobertaConfig, hf.RobertaModel),
        "xlm-roberta": (hf.XLMRobertaConfig, hf.XLMRobertaModel),
        "modernbert": (hf.ModernBertConfig, hf.ModernBertModel),
        "qwen3": (hf.Qwen3Config, hf.Qwen3Model),
        "llama": (hf.LlamaConfig, hf.LlamaModel),
    }[kind]
    if kind in ("roberta", "xlm-roberta"):
        sizes["type_vocab_size"] = 1
    if kind == "modernbert":
        sizes |= {"bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0}
    if kind in DECODERS:  # tables are padded to a round number, heads share keys and values
        sizes |= {"vocab_size": 512, "num_key_value_heads": 2, "head_dim": 8}
    network = model(config(**sizes)).eval()
    with torch.no_grad():  # a random start is so small that all tokens would look alike
        for weight in network.parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.25)
    network.save_pretrained(folder)
    hf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=64,
        padding_side="left" if kind in DECODERS else "right",
        **names,
    ).save_pretrained(folder)
    return folder


def _names(family: str) -> dict[str, str]:
    """The special tokens by their roles."""
    if family == "decoder":
        return {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    if family == "sentencepiece":
        roles = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
        return {**roles, "pad_token": "</s>"}
    angled = family in ("bpe", "unigram")
    return {
        "pad_token": "<pad>" if angled else "[PAD]",
        "unk_token": "<unk>" if angled else "[UNK]",
        "cls_token": "<s>" if angled else "[CLS]",
        "sep_token": "</s>" if angled else "[SEP]",
        "mask_token": "<mask>" if angled else "[MASK]",
    }


def with_modules(base: Path, folder: Path, *modules: Any, **settings: Any) -> Path:
    """Saves ``base`` with sentence-transformers modules behind it, by that library itself."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    torch.manual_seed(11)
    transformer = Transformer(str(base))
    built = [module() for module in modules]
    SentenceTransformer(modules=[transformer, *built], device="cpu", **settings).save(str(folder))
    return folder
