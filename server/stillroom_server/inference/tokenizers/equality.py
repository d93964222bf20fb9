"""Does a tokenizer engine give the ids that the reference gives? Tried on texts made to differ."""

# ruff: noqa: RUF001 - ambiguous characters are the point of these texts

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stillroom_server.inference.tokenizers.base import Tokenizer

FUZZ_TEXTS = 10_000
FUZZ_SEED = 20_250_601
_CHUNK = 1024

# Inclusive ranges of code points where tokenizers are known to part ways.
_RANGES = (
    (0x0020, 0x007E),  # ASCII
    (0x0000, 0x001F),  # control
    (0x007F, 0x00A0),
    (0x00A1, 0x024F),  # Latin with accents
    (0x0250, 0x036F),  # phonetic and combining marks
    (0x0370, 0x052F),  # Greek, Cyrillic
    (0x0590, 0x06FF),  # Hebrew, Arabic
    (0x0900, 0x0DFF),  # Indic
    (0x0E00, 0x0E7F),  # Thai
    (0x1100, 0x11FF),  # Hangul jamo
    (0x1E00, 0x1FFF),  # Latin and Greek extended
    (0x2000, 0x206F),  # punctuation, joiners, direction marks
    (0x20A0, 0x2BFF),  # currency, arrows, mathematics, boxes
    (0x3000, 0x30FF),  # CJK punctuation, kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),  # CJK
    (0xAC00, 0xD7A3),  # Hangul
    (0xE000, 0xE0FF),  # private use
    (0xF900, 0xFAFF),  # CJK compatibility
    (0xFB00, 0xFE0F),  # presentation forms, variation selectors
    (0xFE30, 0xFFFF),  # full width, specials
    (0x10000, 0x1007F),
    (0x1D400, 0x1D7FF),  # mathematical letters
    (0x1F300, 0x1FAFF),  # emoji
    (0x20000, 0x2A6DF),  # CJK extension B
    (0x2F800, 0x2FA1F),
    (0xE0001, 0xE007F),  # tags
    (0x10FFF0, 0x10FFFF),
)

NASTY = (
    "",
    " ",
    "\t\r\n\x0b\x0c",
    "\u00a0\u2003\u3000\u200b\ufeff",
    "\x00",
    "a\x00b",
    "\x01\x7f\x80\x9f\u2028\u2029",
    "\ufffd\ufffe\uffff",
    "café CAFÉ cafe\u0301 e\u0301\u0302\u0303",
    "İstanbul ISTANBUL ıI ß ẞ ŉ ǰ ΐ ﬁ ﬃ ǅ ὈΔΥΣΣΕΎΣ ς",
    "naïve façade Ångström Å Å",
    "漢字かなカナｶﾅ 한국어 ㄱㄴㄷ 中文English混合2024年",
    "ไทยภาษา हिन्दी தமிழ் العربية עברית",
    "😀👨‍👩‍👧‍👦🏳️‍🌈🇩🇪👍🏽☺️❤️",
    "don't  can't won't it's 'tis “quoted” ‘single’ — – … · • ¿¡",
    "C++ C# foo_bar foo-bar foo.bar@baz.com https://a.b/c?d=e&f=g#h 1,000.50 $5 5€ 10% ½ ² ① Ⅳ",
    "~`!@#$%^&*()_+-={}[]|\\:;\"'<>,.?/",
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "é" * 100,
    "é" * 101,
    "漢" * 120,
    "unbelievable" * 40,
    "a " * 600,
    "[CLS] [SEP] [PAD] [MASK] [UNK] [cls] [unused0] <s> </s> <pad> <unk> <mask> ▁ Ġ Ċ ##",
    "[UNK][UNK] a[UNK]b [ UNK ] [UNK",
    "##ing ##s hello##world ▁hello Ġhello",
    "\u202eright to left\u202c \u200dzwj\u200c \u00ad soft",
    "\U000e0041\U000e007f\U0010ffff\ue000",
    "ﷺ ﷽ ㍿ ㎏ ™ ℀ Ⓐ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 Ｆｕｌｌ",
    "\u0301leading mark \u0345 \u093c",
)


def difference(
    engine: Tokenizer, reference: Tokenizer, texts: Sequence[str]
) -> tuple[str, str] | None:
    """Return None when ids and offsets are the same for all texts, else (a text, what differs)."""
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        expected, bounds = reference.encode(chunk)
        try:
            found, found_bounds = engine.encode(chunk)
        except BaseException as failure:  # a panic of compiled code is no Exception
            if not _is_panic(failure):
                raise
            return chunk[0], f"failed: {failure!r}"
        if np.array_equal(bounds, found_bounds) and np.array_equal(expected, found):
            continue
        rows = zip(chunk, pairwise(bounds), pairwise(found_bounds), strict=True)
        for text, (a, b), (c, d) in rows:
            if not np.array_equal(expected[a:b], found[c:d]):
                return text, f"{found[c:d][:8].tolist()} instead of {expected[a:b][:8].tolist()}"
    # Single texts may take another path through an engine than batches do.
    for text in texts[:256]:
        if not np.array_equal(reference.encode([text])[0], engine.encode([text])[0]):
            return text, "differs when encoded alone"
    return None


def _is_panic(failure: BaseException) -> bool:
    return isinstance(failure, Exception) or type(failure).__name__ == "PanicException"


def check_texts(
    vocabulary: Sequence[str], count: int = FUZZ_TEXTS, seed: int = FUZZ_SEED
) -> list[str]:
    """Return the fixed nasty texts and ``count`` random ones, half of them made of vocabulary."""
    rng = random.Random(seed)
    pieces = [piece.removeprefix("##") for piece in vocabulary] or ["a"]
    return [*NASTY, *(_random_text(rng, pieces) for _ in range(count))]


def _random_text(rng: random.Random, pieces: Sequence[str]) -> str:
    parts: list[str] = []
    for _ in range(rng.randint(1, 8)):
        kind = rng.random()
        if kind < 0.5:
            word = "".join(rng.choices(pieces, k=rng.choice((1, 1, 1, 2, 3))))
            parts.append(_recased(rng, word))
        elif kind < 0.9:
            parts.append(_random_characters(rng, *rng.choice(_RANGES), rng.randint(1, 8)))
        elif kind < 0.97:
            parts.append(rng.choice(NASTY)[:40])
        else:
            parts.append(rng.choice(pieces)[:1] * rng.randint(90, 110))
        parts.append(rng.choice(("", "", " ", " ", " ", "  ", "\n", "\t", ".", ",", "-", "'")))
    return "".join(parts)


def _recased(rng: random.Random, word: str) -> str:
    kind = rng.random()
    return word if kind < 0.6 else word.upper() if kind < 0.8 else word.capitalize()


def _random_characters(rng: random.Random, low: int, high: int, length: int) -> str:
    return "".join(map(chr, (rng.randint(low, high) for _ in range(length))))
