"""A language of sixty words, a teacher that adds them up, and a corpus of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from stillroom_registry.errors import Cancelled
from stillroom_server.distillation.tuning.options import TunedOptions
from stillroom_server.distillation.tuning.tune import Tuned, tune
from stillroom_server.distillation.vocabulary import StudentVocabulary, build_vocabulary
from stillroom_server.operations.checkpoints import Checkpoints

WIDTH = 24
SHARD = 256
WORDS = [f"{a}{b}" for a in "bdfgklmnpr" for b in ("a", "e", "i", "o", "u", "y")]
UNUSED = "zzz"  # a word of the vocabulary that no text holds
_RANDOM = np.random.default_rng(0)
_MEANINGS = _RANDOM.normal(size=(len(WORDS) + 1, WIDTH)).astype(np.float32)
_NEGATION = _RANDOM.normal(size=WIDTH).astype(np.float32) * 4


@dataclass(frozen=True)
class Shard:
    lines: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.lines)

    def texts(self) -> Sequence[str]:
        return self.lines


class Corpus:
    """And its features: ``teacher`` gives the vectors of texts."""

    dim = WIDTH

    def __init__(
        self, texts: Sequence[str], teacher: Callable[[Sequence[str]], NDArray[np.float32]]
    ) -> None:
        few = max(len(texts) // 8, 1)
        self.training = _shards(texts[few:])
        self.held_out = _shards(texts[:few])
        self.digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        self.teacher = teacher


class Features:
    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.dim = corpus.teacher(["ba"]).shape[1]

    def training(self, index: int) -> NDArray[np.float32]:
        return self._corpus.teacher(self._corpus.training[index].texts())

    def held_out(self, index: int) -> NDArray[np.float32]:
        return self._corpus.teacher(self._corpus.held_out[index].texts())


class Context:
    """Cancels when ``cancel_at`` looks were taken; 0: never."""

    def __init__(self, cancel_at: int = 0) -> None:
        self.looks = 0
        self.told: list[tuple[str, int, int]] = []
        self._cancel_at = cancel_at

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.told.append((phase, done, total))

    def check_cancelled(self) -> None:
        self.looks += 1
        if self.looks == self._cancel_at:
            raise Cancelled("stop")


class Clock:
    """Every look is ``seconds`` after the one before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


def speak(texts: Sequence[str]) -> NDArray[np.float32]:
    """The teacher: meanings added up, but "ba" turns the word behind it around."""
    vectors = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for row, text in enumerate(texts):
        words = text.split()
        for before, word in zip(["", *words], words, strict=False):
            vectors[row] += _MEANINGS[_index(word)]
            if (before, word) == ("ba", "be"):
                vectors[row] += _NEGATION
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def make_texts(count: int, seed: int = 1) -> list[str]:
    """Distinct texts of three to eight words, the first of which are frequent."""
    random = np.random.default_rng(seed)
    chances = 1.0 / np.arange(1, len(WORDS) + 1)
    chances /= chances.sum()
    texts: dict[str, None] = {}
    while len(texts) < count:
        words = random.choice(WORDS, size=random.integers(3, 9), p=chances)
        texts[" ".join(words)] = None
    return list(texts)


def make_vocabulary() -> StudentVocabulary:
    tokens = ["[UNK]", "[PAD]", UNUSED, *WORDS]
    model = models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return build_vocabulary(tokenizer.to_str())


def encode_rows() -> NDArray[np.float32]:
    """The teacher's vectors of single words, which say a little else than words in texts do."""
    rows = np.zeros((len(WORDS) + 3, WIDTH), dtype=np.float32)
    rows[2] = _MEANINGS[-1]
    rows[3:] = _MEANINGS[:-1]
    noise = np.random.default_rng(2).normal(size=rows.shape)
    return rows + noise.astype(np.float32)


def run(
    folder: Path,
    corpus: Corpus | None = None,
    *,
    context: Context | None = None,
    checkpoints: Any = None,
    clock: Clock | None = None,
    rows: Callable[[], NDArray[np.float32]] = encode_rows,
    composed: int = 0,
    **options: Any,
) -> Tuned:
    corpus = corpus or Corpus(make_texts(2_000), speak)
    return tune(
        make_vocabulary(),
        rows,
        corpus,
        Features(corpus),
        TunedOptions.from_json({"static": {"dimensions": 16}, "max_epochs": 3, **options}),
        checkpoints or Checkpoints(folder / "checkpoints"),
        context or Context(),
        folder / "work",
        composed=composed,
        clock=clock or Clock(0.0),
    )


def embed(tuned: Tuned, texts: Sequence[str]) -> NDArray[np.float32]:
    """As a student is served."""
    tokenizer = Tokenizer.from_str(tuned.tokenizer_json)
    sums = np.stack(
        [tuned.table[e.ids].sum(axis=0) for e in tokenizer.encode_batch_fast(list(texts))]
    )
    vectors: NDArray[np.float32] = sums / np.maximum(
        np.linalg.norm(sums, axis=1, keepdims=True), 1e-12
    )
    return vectors


def cosine(tuned: Tuned, texts: Sequence[str]) -> float:
    """Mean cosine of the student's vectors to the teacher's along its axes."""
    wanted = speak(texts) @ tuned.axes
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    return float((embed(tuned, texts) * wanted).sum(axis=1).mean())


def _index(word: str) -> int:
    return WORDS.index(word) if word in WORDS else len(WORDS)


def _shards(texts: Sequence[str]) -> tuple[Shard, ...]:
    return tuple(Shard(tuple(texts[i : i + SHARD])) for i in range(0, len(texts), SHARD))
