"""Tiny corpora, teachers that the shared ones lack, and one call that distills."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distillation import teachers
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling

from stillroom_server.distillation.context import Silent
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.transformer.recipe import distill_transformer
from stillroom_server.operations.checkpoints import Checkpoints

_WORDS = sorted({word for text in teachers.CORPUS for word in text.split()})
QUESTIONS = ["the quick dog", "A student keeps 22 words in the house!", "Größe unknown 日本語"]


def texts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(_WORDS, rng.integers(2, 10))) for _ in range(count)]


@dataclass(frozen=True)
class Shard:
    lines: Sequence[str]

    @property
    def count(self) -> int:
        return len(self.lines)

    def texts(self) -> Sequence[str]:
        return self.lines


@dataclass(frozen=True)
class Corpus:
    training: Sequence[Shard]
    held_out: Sequence[Shard]
    digest: str = "tiny"


@dataclass(frozen=True)
class Features:
    """The teacher's vectors; ``spoil`` may change those to learn from."""

    made: tuple[list[np.ndarray], list[np.ndarray]]

    @property
    def dim(self) -> int:
        return int(self.made[0][0].shape[1])

    def training(self, index: int) -> np.ndarray:
        return self.made[0][index]

    def held_out(self, index: int) -> np.ndarray:
        return self.made[1][index]


def corpus(count: int = 192) -> Corpus:
    """Two unequal shards to learn from, one to judge by."""
    lines = texts(count + 48)
    cut = count * 2 // 3
    return Corpus([Shard(lines[:cut]), Shard(lines[cut:count])], [Shard(lines[count:])])


def features(teacher: Path, given: Corpus, prompt_name: str | None = None) -> Features:
    loaded = Teacher.load(teacher, "cpu", "float32", native=False)
    made = tuple(
        [loaded.encode(shard.texts(), prompt_name=prompt_name) for shard in shards]
        for shards in (given.training, given.held_out)
    )
    return Features((made[0], made[1]))


def distill(
    teacher: Path,
    output: Path,
    *,
    given: Corpus | None = None,
    known: Features | None = None,
    checkpoints: Checkpoints | None = None,
    context: Any = None,
    threads: Callable[[], int] | None = None,
    verify: bool = True,
    clock: Callable[[], float] | None = None,
    **options: Any,
) -> dict[str, Any]:
    given = given or corpus()
    options = {"max_epochs": 2, "element_type": "float32", **options}
    clocked = {} if clock is None else {"clock": clock}
    return distill_transformer(
        teacher,
        output,
        given,
        known or features(teacher, given),
        checkpoints or Checkpoints(output.with_name(output.name + "-checkpoints")),
        TransformerOptions(**options),
        context or Silent(),
        name="tiny",
        threads=threads,
        verify=verify,
        **clocked,
    )


def digests(
    folder: Path, *, but: Sequence[str] = ("stillroom.json", "README.md")
) -> dict[str, str]:
    """Of every file whose bytes must not depend on the clock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


def decoder(folder: Path) -> Path:
    """A decoder whose last token is the sentence's vector, with grouped heads and a prompt."""
    import transformers as hf

    made = teachers.tokenizer("modern")
    pad = made.token_to_id("[PAD]")
    config = hf.Qwen3Config(
        vocab_size=made.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
        max_position_embeddings=80,
        pad_token_id=pad,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(7)
    network = hf.Qwen3Model(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.25)
    base = folder.with_name(folder.name + "-base")
    network.save_pretrained(base)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "sep_token": "[SEP]"}
    hf.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **names).save_pretrained(
        base
    )
    last = [lambda: Pooling(32, pooling_mode="lasttoken"), Normalize]
    return teachers.with_modules(base, folder, *last, prompts={"query": "who keeps the "})
