"""Words added to a tokenizer.json, each one token thereafter.

A word that the tokenizer's own splitting leaves whole goes into the model's vocabulary, so that it
is found as every other word is. Any other (several words, ``c++``), and any that the model would
still cut up, becomes an added token that is matched before splitting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from stillroom_registry.errors import InvalidArgument

_LONGEST = 256  # bytes of a word
# A word's score beats its pieces' by this much a character. Added words can be pieces of one
# another; counting characters makes the longest win.
_MARGIN = 1e-3


def add_words(source: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The tokenizer.json ``source`` with ``words`` as its last ids, in order.

    Raises InvalidArgument (field add_words[i]) for a word that is blank, too long, repeated,
    already one token, or cannot be made one.
    """
    if not words:
        return dict(source)
    source = _spaces_marked_last(source)
    before = _load(source)
    forms = _forms(before, words)
    unsplit = [_whole(before, form) for form in forms]
    matched = [piece is None for piece in unsplit]
    # An added token is spelled as it was given: the tokenizer itself normalizes it once more.
    given = [word.strip() for word in words]
    result = _insert(source, before, given, unsplit, matched)
    lost = _not_single(result, words)
    if lost:
        for index in lost:
            matched[index] = True
        result = _insert(source, before, given, unsplit, matched)
        for index in _not_single(result, words):
            raise _refused(index, words[index], "cannot be made one token of this tokenizer")
    return result


def match_whole_words(source: dict[str, Any]) -> None:
    """Lets a BPE model find a whole word in its vocabulary before it merges, in place. Not where
    pieces are marked by their place in a word: then the spelling alone says too little."""
    model = source["model"]
    marked = model.get("end_of_word_suffix") or model.get("continuing_subword_prefix")
    if model["type"] == "BPE" and not marked and source.get("pre_tokenizer"):
        source["model"] = {**model, "ignore_merges": True}


def _spaces_marked_last(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leaves it to the splitter to write spaces as ``▁``, where the normalizer does, as Llama's.

    Added tokens are sought after the normalizer and before the splitter, between characters that
    are no letters: the ``▁`` would be theirs and the letter before it the obstacle.
    """
    normalizer = source.get("normalizer") or {}
    parts = normalizer.get("normalizers") or []
    marks = [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]
    if source.get("pre_tokenizer") or parts[-2:] != marks:
        return source
    rest = {**normalizer, "normalizers": parts[:-2]} if parts[:-2] else None
    split = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return {**source, "normalizer": rest, "pre_tokenizer": split}


def _forms(before: Tokenizer, words: Sequence[str]) -> list[str]:
    """The words as the tokenizer's normalizer leaves them."""
    forms: dict[str, None] = {}
    known = before.get_vocab(with_added_tokens=True)
    encodings = before.encode_batch(list(words), add_special_tokens=False)
    silent = _unknown_id(before)
    for index, (word, encoding) in enumerate(zip(words, encodings, strict=True)):
        normalizer = before.normalizer
        form = word if normalizer is None else normalizer.normalize_str(word)
        form = form.strip()
        if not form:
            raise _refused(index, word, "is blank")
        if len(word.encode()) > _LONGEST:
            raise _refused(index, word, f"has more than {_LONGEST} bytes")
        if form in forms:
            raise _refused(index, word, "is repeated")
        if (len(encoding.ids) == 1 and encoding.ids[0] != silent) or form in known:
            raise _refused(index, word, "is in the teacher's vocabulary already")
        forms[form] = None
    return list(forms)


def _whole(tokenizer: Tokenizer, form: str) -> str | None:
    """The one piece that splitting makes of a word, as the vocabulary would spell it."""
    splitter = tokenizer.pre_tokenizer
    pieces = [form] if splitter is None else [text for text, _ in splitter.pre_tokenize_str(form)]
    return pieces[0] if len(pieces) == 1 else None


def _insert(
    source: Mapping[str, Any],
    before: Tokenizer,
    words: Sequence[str],
    unsplit: Sequence[str | None],
    matched: Sequence[bool],
) -> dict[str, Any]:
    """``matched`` words become added tokens; they stand in the vocabulary too, which gives them
    their ids."""
    result = dict(source)
    pieces = [
        word if as_added or piece is None else piece
        for word, piece, as_added in zip(words, unsplit, matched, strict=True)
    ]
    model = dict(source["model"])
    first = len(model["vocab"])
    known = set(before.get_vocab(with_added_tokens=True))
    for index, piece in enumerate(pieces):
        if piece in known:
            raise _refused(index, words[index], "is in the teacher's vocabulary already")
        known.add(piece)
    if model["type"] == "Unigram":
        scores = _unigram_scores(before, model, words)
        model["vocab"] = model["vocab"] + [[p, s] for p, s in zip(pieces, scores, strict=True)]
    else:
        model["vocab"] = {**model["vocab"], **{p: first + i for i, p in enumerate(pieces)}}
    result["model"] = model
    match_whole_words(result)
    result["added_tokens"] = [
        *source.get("added_tokens", ()),
        *(
            {
                "id": first + index,
                "content": word,
                "single_word": True,
                "lstrip": True,  # else the space before the word would be a token of its own
                "rstrip": False,
                "normalized": True,
                "special": False,
            }
            for index, (word, as_added) in enumerate(zip(words, matched, strict=True))
            if as_added
        ),
    ]
    return result


def _unigram_scores(
    before: Tokenizer, model: Mapping[str, Any], forms: Sequence[str]
) -> list[float]:
    """For each word the score of its best segmentation so far, and a little more."""
    scores = [float(score) for _, score in model["vocab"]]
    scores[_unknown_id(before) or 0] = min(scores) - 10.0  # what the Unigram model charges
    encodings = before.encode_batch(list(forms), add_special_tokens=False)
    return [
        sum(scores[token] for token in encoding.ids) + _MARGIN * len(form)
        for form, encoding in zip(forms, encodings, strict=True)
    ]


def _not_single(source: Mapping[str, Any], words: Sequence[str]) -> list[int]:
    """Which words are not one token, alone, between others or before a comma, from which not every
    tokenizer splits them."""
    tokenizer = _load(source)
    first = len(source["model"]["vocab"]) - len(words)
    alone = tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
    inside = tokenizer.encode_batch_fast(
        [f"a {word} a {word}, a" for word in words], add_special_tokens=False
    )
    return [
        index
        for index, (one, many) in enumerate(zip(alone, inside, strict=True))
        if one.ids != [first + index] or many.ids.count(first + index) != 2
    ]


def _load(source: Mapping[str, Any]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(source, ensure_ascii=False))


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        index: int | None = model.get("unk_id")
        return index
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(token)


def _refused(index: int, word: str, why: str) -> InvalidArgument:
    shown = word if len(word) <= 40 else word[:40] + "..."
    return InvalidArgument(
        f"the word {shown!r} {why}; leave it out of add_words", field=f"add_words[{index}]"
    )
