"""Texts for words that a corpus seldom has: pieces of its own texts, with such words put in.

What a corpus says of a rare word is little, and of most of a vocabulary nothing at all. The teacher
knows all of them, and says in the company of other words more than of a word alone. A kind of data
augmentation for distillation (as of TinyBERT, arXiv 1909.10351, which replaces words by likely
ones; here by unlikely ones).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stillroom_server.distillation.tuning.batches import generator
from stillroom_server.distillation.tuning.options import COMPOSED_SHARE, MOST_COMPOSED
from stillroom_server.distillation.vocabulary import StudentVocabulary

_SPAN = (4, 9)  # words of a text
_REPLACED = (0.25, 0.6)  # of them
_SHORTEST = 3  # letters of a word that is put in
_LONGEST = 64  # characters of a word
_AT_ONCE = 256
_STREAM = 1  # apart from what else the seed decides
_TRIES = 4


class Composer:
    """Composes from shards; the same seed, vocabulary and shards give the same texts."""

    def __init__(self, vocabulary: StudentVocabulary, seed: int) -> None:
        self._tokenizer = Tokenizer.from_str(vocabulary.tokenizer_json)
        self._seed = seed
        self._rows, self.words = _whole_words(self._tokenizer, vocabulary)
        self._usage = np.zeros(len(vocabulary), dtype=np.int64)

    def count(self, texts: Sequence[str], tell: Callable[[], None]) -> None:
        """To be called with all texts to learn from, before any is composed."""
        for start in range(0, len(texts), _AT_ONCE):
            tell()
            piece = list(texts[start : start + _AT_ONCE])
            encodings = self._tokenizer.encode_batch_fast(piece, add_special_tokens=False)
            ids = np.array([token for one in encodings for token in one.ids], dtype=np.int64)
            self._usage += np.bincount(ids, minlength=len(self._usage))

    def compose(
        self, index: int, texts: Sequence[str], most: int, tell: Callable[[], None]
    ) -> list[str]:
        """At most ``most`` texts of those of the shard ``index``; fewer, or none, where texts are
        not made of words with spaces between them."""
        if not self.words or not texts:
            return []
        # The rarer, the oftener: what the corpus says often needs no help.
        chances = np.cumsum(1.0 / (2.0 + self._usage[self._rows]))
        random = generator(self._seed, _STREAM, index)
        found: list[str] = []
        for at in range(most * _TRIES):
            if at % _AT_ONCE == 0:
                tell()
            words = texts[int(random.integers(len(texts)))].split()
            if len(words) >= _SPAN[0] and len(text := self._piece(words, chances, random)):
                found.append(text)
            if len(found) == most:
                break
        return found

    def _piece(
        self, words: list[str], chances: NDArray[np.float64], random: np.random.Generator
    ) -> str:
        count = min(len(words), int(random.integers(_SPAN[0], _SPAN[1] + 1)))
        first = int(random.integers(len(words) - count + 1))
        piece = words[first : first + count]
        if max(map(len, piece)) > _LONGEST:
            return ""
        replaced = max(1, round(count * float(random.uniform(*_REPLACED))))
        places = random.permutation(count)[:replaced]
        drawn = np.searchsorted(chances, random.random(replaced) * chances[-1], side="right")
        for place, word in zip(places.tolist(), drawn.tolist(), strict=True):
            piece[place] = self.words[min(word, len(self.words) - 1)]
        return " ".join(piece)


def shares(counts: Sequence[int]) -> list[int]:
    """How many texts to compose of each of the shards that have so many."""
    total = sum(counts)
    wanted = min(int(COMPOSED_SHARE * total), MOST_COMPOSED)
    ends = [0, *(wanted * end // max(total, 1) for end in np.cumsum(counts).tolist())]
    return [after - before for before, after in pairwise(ends)]


def _whole_words(
    tokenizer: Tokenizer, vocabulary: StudentVocabulary
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The rows that are words of letters behind a space, and these words."""
    silent = set(vocabulary.silent)
    rows = [row for row in range(len(vocabulary)) if row not in silent]
    spelled = [tokenizer.decode([row]).strip() for row in rows]
    candidates = [
        (row, word)
        for row, word in zip(rows, spelled, strict=True)
        if _SHORTEST <= len(word) <= _LONGEST and word.isalpha()
    ]
    before = tokenizer.encode("0", add_special_tokens=False).ids
    encodings = tokenizer.encode_batch_fast(
        [f"0 {word}" for _, word in candidates], add_special_tokens=False
    )
    kept = [
        (row, word)
        for (row, word), encoding in zip(candidates, encodings, strict=True)
        if encoding.ids == [*before, row]
    ]
    return np.array([row for row, _ in kept], dtype=np.int64), tuple(word for _, word in kept)
