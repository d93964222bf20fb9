"""Which words, and which pairs of words, a corpus uses often."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

# Letters, with apostrophes inside: "don't" is a word, as its parts say less than it does.
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_LONGEST = 64  # characters of a word or pair
_MOST_ENTRIES = 2_000_000  # of a count; bounds memory, whatever the corpus
_MOST_CHARACTERS = 20_000  # of a text that are read


class Spelling:
    """Reads words and pairs as the tokenizer's normalizer spells them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._normalizer = tokenizer.normalizer

    def read(self, text: str) -> tuple[list[str], list[str]]:
        """The words of letters alone, and the pairs: two words with a single space between them,
        or with an apostrophe, such as ``don't``. In the order of the text."""
        spelled = text[:_MOST_CHARACTERS]
        if self._normalizer is not None:
            spelled = self._normalizer.normalize_str(spelled)
        words: list[str] = []
        pairs: list[str] = []
        before, end = "", -1
        for match in _WORD.finditer(spelled):
            word = match.group()
            (words if word.isalpha() else pairs).append(word)
            # Only behind a single space: else the two are not matched as one.
            if before and match.start() == end + 1 and spelled[end] == " ":
                pairs.append(f"{before} {word}")
            before, end = word, match.end()
        return words, pairs


class Usage:
    """How often words and pairs occur.

    A count that grows too long forgets what was seen least (Manku and Motwani, VLDB 2002), so those
    that are frequent in a corpus larger than memory stay.
    """

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self.words: Counter[str] = Counter()
        self.pairs: Counter[str] = Counter()

    def add(self, texts: Iterable[str], tell: Callable[[], None] = lambda: None) -> None:
        """``tell`` is called for every text."""
        for text in texts:
            tell()
            words, pairs = self._spelling.read(text)
            self.words.update(words)
            self.pairs.update(pairs)
        self.words = _bounded(self.words)
        self.pairs = _bounded(self.pairs)

    def frequent(self, counts: Counter[str], least: int, most: int) -> list[str]:
        """At most ``most`` of the entries seen ``least`` times or more, the most frequent first and
        alike frequent ones by spelling."""
        found = [(-count, entry) for entry, count in counts.items() if count >= least]
        return [entry for _, entry in sorted(found) if len(entry) <= _LONGEST][:most]


def _bounded(counts: Counter[str]) -> Counter[str]:
    least = 2
    while len(counts) > _MOST_ENTRIES:
        counts = Counter({entry: count for entry, count in counts.items() if count >= least})
        least += 1
    return counts
