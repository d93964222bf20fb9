"""A tokenizer that knows more: frequent words, and pairs of words, as tokens of their own.

A grown token stands for the tokens it replaces and for what they do not say together: its row is
the sum of theirs and a difference of its own, which is what is learned. While the difference is
zero, no text's direction changes, so a token that the corpus says little of does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stillroom_server.distillation.vocabulary import StudentVocabulary
from stillroom_server.distillation.vocabulary_words import match_whole_words

_MARGIN = 1e-3  # by which a Unigram word's score beats that of its pieces, a character


@dataclass(frozen=True)
class GrownVocabulary:
    """``tokenizer_json``: the base tokens keep their ids, the grown ones follow.

    ``words`` and ``pairs`` are the grown tokens, in the order of their ids. ``parts[i]`` are the
    ids (k,) int64 of the base tokens that the i-th of them replaces.
    """

    tokenizer_json: str
    base_rows: int
    words: tuple[str, ...]
    pairs: tuple[str, ...]
    parts: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return self.base_rows + len(self.parts)


def grow(
    base: StudentVocabulary,
    words: Sequence[str],
    pairs: Sequence[str],
    most_words: int | None = None,
) -> GrownVocabulary:
    """``base`` with those ``words`` (the first ``most_words``; None: all) and ``pairs`` that become
    one token each, wherever they stand.

    The others are left out: those that are one token already, that hold nothing known, or that this
    family's splitting cannot keep whole.
    """
    before = Tokenizer.from_str(base.tokenizer_json)
    silent = set(base.silent)
    kept_words = _candidates(before, words, silent)[:most_words]
    kept_pairs = _candidates(before, pairs, silent)
    while True:
        grown = _insert(base.tokenizer_json, before, kept_words, kept_pairs)
        good = _single(grown, [*kept_words, *kept_pairs], len(base))
        if all(good):
            break
        kept_words, kept_pairs = (
            [word for word, fine in zip(kept_words, good, strict=False) if fine],
            [pair for pair, fine in zip(kept_pairs, good[len(kept_words) :], strict=True) if fine],
        )
    parts = [
        np.array([token for token in encoding.ids if token not in silent], dtype=np.int64)
        for encoding in before.encode_batch_fast(
            [*kept_words, *kept_pairs], add_special_tokens=False
        )
    ]
    return GrownVocabulary(
        tokenizer_json=grown,
        base_rows=len(base),
        words=tuple(kept_words),
        pairs=tuple(kept_pairs),
        parts=tuple(parts),
    )


def _candidates(before: Tokenizer, entries: Sequence[str], silent: set[int]) -> list[str]:
    """Without repetitions, and without what is one token or holds an unknown one."""
    unique = list(dict.fromkeys(entries))
    known = before.get_vocab(with_added_tokens=True)
    encodings = before.encode_batch_fast(unique, add_special_tokens=False)
    return [
        entry
        for entry, encoding in zip(unique, encodings, strict=True)
        if entry not in known and len(encoding.ids) > 1 and not silent & set(encoding.ids)
    ]


def _insert(source: str, before: Tokenizer, words: Sequence[str], pairs: Sequence[str]) -> str:
    """Words that splitting leaves whole go into the model's vocabulary, where they cost nothing to
    find; pairs, and words with an apostrophe, are matched before splitting."""
    result: dict[str, Any] = json.loads(source)
    if not words and not pairs:
        return source
    model = result["model"]
    first = len(model["vocab"])
    known = before.get_vocab(with_added_tokens=True)
    spelled = [_whole(before, word, known) for word in words]
    pieces = [piece or word for piece, word in zip(spelled, words, strict=True)] + list(pairs)
    if model["type"] == "Unigram":
        scores = _scores(before, model, [*words, *pairs])
        model["vocab"] = model["vocab"] + [[p, s] for p, s in zip(pieces, scores, strict=True)]
    else:
        model["vocab"] = {**model["vocab"], **{p: first + i for i, p in enumerate(pieces)}}
    match_whole_words(result)
    matched = [*(piece is None for piece in spelled), *(True for _ in pairs)]
    result["added_tokens"] = [
        *result.get("added_tokens", ()),
        *(
            {
                "id": first + index,
                "content": entry,
                "single_word": True,
                "lstrip": True,  # else the space before it would be a token of its own
                "rstrip": False,
                "normalized": True,
                "special": False,
            }
            for index, (entry, before_splitting) in enumerate(
                zip([*words, *pairs], matched, strict=True)
            )
            if before_splitting
        ),
    ]
    return json.dumps(result, ensure_ascii=False)


def _whole(tokenizer: Tokenizer, word: str, known: Container[str]) -> str | None:
    """The one piece that splitting makes of a word, as the vocabulary would spell it."""
    splitter = tokenizer.pre_tokenizer
    pieces = [word] if splitter is None else [text for text, _ in splitter.pre_tokenize_str(word)]
    return pieces[0] if len(pieces) == 1 and pieces[0] not in known else None


def _scores(before: Tokenizer, model: dict[str, Any], entries: Sequence[str]) -> list[float]:
    """For each entry the score of its best segmentation so far, and a little more."""
    scores = [float(score) for _, score in model["vocab"]]
    encodings = before.encode_batch_fast(list(entries), add_special_tokens=False)
    return [
        sum(scores[token] for token in encoding.ids) + _MARGIN * len(entry)
        for entry, encoding in zip(entries, encodings, strict=True)
    ]


def _single(source: str, entries: Sequence[str], first: int) -> list[bool]:
    """Which entries are one token, alone and behind a word that begins no pair."""
    tokenizer = Tokenizer.from_str(source)
    alone = tokenizer.encode_batch_fast(list(entries), add_special_tokens=False)
    inside = tokenizer.encode_batch_fast([f"0 {e} 0" for e in entries], add_special_tokens=False)
    return [
        one.ids == [first + index] and first + index in many.ids
        for index, (one, many) in enumerate(zip(alone, inside, strict=True))
    ]
