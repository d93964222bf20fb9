"""A student's vocabulary: its teacher's tokenizer.json, reindexed, with words added and removed.

Surgery on the JSON itself, for the families WordPiece, WordLevel, BPE and Unigram. What comes out
is read by tokenizers, model2vec and sentence-transformers as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.vocabulary_pattern import REMOVE_UNUSED, check_pattern
from stillroom_server.distillation.vocabulary_words import add_words, match_whole_words

FAMILIES = ("WordPiece", "WordLevel", "BPE", "Unigram")


@dataclass(frozen=True)
class StudentVocabulary:
    """Rows in the order of the teacher's ids, so by frequency where the teacher's are; added words
    last.

    ``tokenizer_json`` gives row numbers as ids. ``teacher_ids`` is (rows,) int64: the teacher's id
    of each row, -1 for the added words, which are ``words``, in order. ``silent`` are the rows that
    mean nothing (unknown, padding). ``leading_space``: to the teacher, unlike the student, a word
    that begins a text is another one than the same word behind a space.
    """

    tokenizer_json: str
    teacher_ids: NDArray[np.int64]
    words: tuple[str, ...]
    silent: tuple[int, ...]
    leading_space: bool = False

    def __len__(self) -> int:
        return len(self.teacher_ids)


def build_vocabulary(
    tokenizer_json: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    remove_pattern: str | None = REMOVE_UNUSED,
) -> StudentVocabulary:
    """Makes a student's vocabulary of a teacher's tokenizer.json.

    Added tokens go, but for the unknown and the padding token, and with them every token whose
    beginning ``remove_pattern`` matches and those in ``remove``, spelled as the vocabulary spells
    them: their text falls to smaller pieces or is unknown. Post-processor, cutting and padding go
    too. Each word of ``add`` becomes one token.

    Raises InvalidArgument (field remove_tokens[i], remove_pattern or add_words[i]) for what cannot
    be removed or added, FailedPrecondition(UNSUPPORTED_TOKENIZER) for another family.
    """
    source = json.loads(tokenizer_json)
    model = source["model"]
    family = model.get("type")
    if family not in FAMILIES:
        raise FailedPrecondition(
            f"a tokenizer of type {family!r} is none of {', '.join(FAMILIES)}",
            reason="UNSUPPORTED_TOKENIZER",
            field="teacher",
        )
    tokens = _tokens_by_id(model)
    unknown = _unknown(model)
    padding = (source.get("padding") or {}).get("pad_token")
    keep = {token for token in (unknown, padding) if token is not None}
    gone = {str(token["content"]) for token in source.get("added_tokens", ())} - keep
    gone |= _removed(list(tokens.values()), unknown, remove, remove_pattern, keep)

    kept = {index: token for index, token in sorted(tokens.items()) if token not in gone}
    if not set(kept.values()) - keep:
        raise InvalidArgument(
            "nothing would be left of the vocabulary",
            reason="VOCABULARY_EMPTY",
            field="remove_pattern",
        )
    rows = {token: row for row, token in enumerate(kept.values())}
    result = {
        **source,
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "added_tokens": [
            {**token, "id": rows[token["content"]]}
            for token in source.get("added_tokens", ())
            if token["content"] in rows
        ],
        "pre_tokenizer": _with_prefix_space(source.get("pre_tokenizer")),
        "model": _shrunk(model, kept, rows, unknown),
    }
    if remove:
        # A longer token built from a removed one has lost its merge; whole words keep theirs.
        match_whole_words(result)
    leading_space = result["pre_tokenizer"] != source.get("pre_tokenizer")
    result = add_words(result, add)
    ids = np.full(len(rows) + len(add), -1, dtype=np.int64)
    ids[: len(rows)] = list(kept)
    return StudentVocabulary(
        tokenizer_json=json.dumps(result, ensure_ascii=False),
        teacher_ids=ids,
        words=tuple(add),
        leading_space=leading_space,
        silent=tuple(sorted(rows[token] for token in keep if token in rows)),
    )


def _tokens_by_id(model: Mapping[str, Any]) -> dict[int, str]:
    vocabulary = model["vocab"]
    if model["type"] == "Unigram":
        by_token = {str(entry[0]): index for index, entry in enumerate(vocabulary)}
    else:
        by_token = {str(token): int(index) for token, index in vocabulary.items()}
    return {index: token for token, index in by_token.items()}


def _unknown(model: Mapping[str, Any]) -> str | None:
    if model["type"] == "Unigram":
        index = model.get("unk_id")
        return None if index is None else str(model["vocab"][index][0])
    token = model.get("unk_token")
    return token if token in model["vocab"] else None


def _removed(
    tokens: Sequence[str],
    unknown: str | None,
    remove: Sequence[str],
    pattern: str | None,
    keep: set[str],
) -> set[str]:
    known = set(tokens)
    for index, token in enumerate(remove):
        field = f"remove_tokens[{index}]"
        if token == unknown:
            raise InvalidArgument(
                f"{token!r} is the unknown token, which the tokenizer needs", field=field
            )
        if token not in known:
            raise InvalidArgument(
                f"{token!r} is not in the teacher's vocabulary; spell it as the vocabulary does",
                reason="UNKNOWN_TOKEN",
                field=field,
            )
    removed = set(remove)
    if pattern:
        matches = check_pattern(pattern).match
        removed |= {token for token in tokens if matches(token)} - keep
    return removed


def _shrunk(
    model: Mapping[str, Any], kept: Mapping[int, str], rows: Mapping[str, int], unknown: str | None
) -> dict[str, Any]:
    """The model with the tokens of ``rows`` alone, numbered as there."""
    if model["type"] == "Unigram":
        entries = [[token, model["vocab"][index][1]] for index, token in kept.items()]
        return {**model, "vocab": entries, "unk_id": None if unknown is None else rows[unknown]}
    if model["type"] != "BPE":
        return {**model, "vocab": dict(rows)}
    prefix = len(model.get("continuing_subword_prefix") or "")
    merges = []
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left in rows and right in rows and left + right[prefix:] in rows:
            merges.append([left, right])
    return {**model, "vocab": dict(rows), "merges": merges, "unk_token": unknown}


def _with_prefix_space(pre_tokenizer: Any) -> Any:
    """Lets a text begin as words in its middle do: else a byte-level vocabulary would have another
    row for its first word, a rarely used one. Behind a splitting step it would break every piece
    apart."""
    if not isinstance(pre_tokenizer, dict):
        return pre_tokenizer
    if pre_tokenizer.get("type") == "ByteLevel":
        return {**pre_tokenizer, "add_prefix_space": True}
    steps = pre_tokenizer.get("pretokenizers") or []
    if steps and steps[0].get("type") == "ByteLevel":
        return {**pre_tokenizer, "pretokenizers": [_with_prefix_space(steps[0]), *steps[1:]]}
    return pre_tokenizer
