"""nanotoken for the tokenizers of tuned students, which know pairs of words as one token.

Matching eight thousand pairs costs nanotoken ten times what the rest of a text does. Here an
Aho-Corasick automaton finds them, the space inside each gives way to a capital, which texts in
lower case do not have, and what was a pair is a word like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.tokenizers.base import Ids, Offsets, Unsupported
from stillroom_server.inference.tokenizers.nano import NanoTokenizer

_JOINTS = {" ": "Z", "'": "Y"}
_GAPS = str.maketrans("\t\n\r", "   ")  # the normalizer takes them for spaces
_JOINED_SPACE = ord(_JOINTS[" "])
_MAY_HAVE_PAIRS = re.compile(r'"single_word"\s*:\s*true')  # to read no JSON in vain
_IN_WORD = bytes(chr(code).isalnum() or chr(code) == "_" for code in range(128)) + bytes(128)
_AT_ONCE = 1 << 16  # characters; their matches are made while the interpreter's lock is held
_BYTES_PER_PAIR_BYTE = 25  # 7 of the automaton, the others of lists


class PairedTokenizer:
    """What ``NanoTokenizer`` does, for uncased WordPiece with pairs among its added tokens.

    Texts go to that one unless they are printable ASCII without special tokens.
    """

    name = "nanotoken-pairs"

    def __init__(self, tokenizer_json: str) -> None:
        if not _MAY_HAVE_PAIRS.search(tokenizer_json):
            raise Unsupported
        try:
            import daachorse
        except ImportError as failure:
            raise Unsupported(f"daachorse is not installed: {failure}") from failure
        try:
            spec = json.loads(tokenizer_json)
            pairs, self._specials = _pairs_and_specials(spec)
            joined = _with_words_for(pairs, spec)
            self._find = daachorse.DoubleArrayAhoCorasick(
                [pair.encode() for pair in pairs], daachorse.MATCH_KIND_LEFTMOST_LONGEST
            ).find
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as failure:
            raise Unsupported(f"its pairs of words cannot be read: {failure!r}") from failure
        self._whole = NanoTokenizer(tokenizer_json)
        self._joined = NanoTokenizer(joined)
        self._edits = [_edits(pair) for pair in pairs]
        # Where nearly all have the only joint that they have, and 0 for the others.
        self._spaces = [
            edits[0][0] if len(edits) == 1 and edits[0][1] == _JOINED_SPACE else 0
            for edits in self._edits
        ]
        own = _BYTES_PER_PAIR_BYTE * sum(map(len, pairs))
        self.nbytes = self._whole.nbytes + self._joined.nbytes + own

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        plain = self._plain(texts)
        if plain is None:
            return self._joined.encode(self._all_rewritten(texts))
        some = [text for text in plain if text is not None]
        rest = [text for text, fine in zip(texts, plain, strict=True) if fine is None]
        mask = np.fromiter((text is not None for text in plain), np.bool_, len(plain))
        return _merged(
            mask, self._joined.encode(self._all_rewritten(some)), self._whole.encode(rest)
        )

    def encode_one(self, text: str) -> Ids:
        if text.isascii() and text.isprintable() and len(text) <= _AT_ONCE:
            for special in self._specials:
                if special in text:
                    break
            else:
                return self._joined.encode_one(self._rewritten(f"\n{text}\n"))
        return self.encode((text,))[0]

    def _plain(self, texts: Sequence[str]) -> list[str | None] | None:
        """None where all texts are printable ASCII without special tokens. Else such a text for
        each, and None for those that cannot be one."""
        together = "".join(texts)
        specials = [special for special in self._specials if special in together]
        if not specials and together.isascii() and together.isprintable():
            return None
        spaced = [text if text.isprintable() else text.translate(_GAPS) for text in texts]
        return [
            text
            if text.isascii()
            and text.isprintable()
            and not (specials and any(special in text for special in specials))
            else None
            for text in spaced
        ]

    def _all_rewritten(self, texts: Sequence[str]) -> list[str]:
        return [
            text
            for part in _parts(texts)
            for text in self._rewritten("\n".join(("", *part, "")))[1:-1].split("\n")
        ]

    def _rewritten(self, text: str) -> str:
        """Plain text, with line feeds at both ends and none but between texts, its pairs joined.

        As the reference does, it takes the leftmost and longest of what the characters spell, and
        leaves out what ends inside a word, together with all that begins in there.
        """
        before = text.lower().encode()
        after, in_word = bytearray(before), before.translate(_IN_WORD)
        spaces = self._spaces
        for start, end, pair in self._find(before):
            if in_word[start - 1] or in_word[end]:
                continue
            if space := spaces[pair]:
                after[start + space] = _JOINED_SPACE
            else:
                for place, joint in self._edits[pair]:
                    after[start + place] = joint
        return after.decode()


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts of _AT_ONCE characters, or one that is longer."""
    first = size = 0
    for index, text in enumerate(texts):
        if size and size + len(text) > _AT_ONCE:
            yield texts[first:index]
            first, size = index, 0
        size += len(text)
    if first < len(texts):
        yield texts[first:]


def _merged(
    mask: npt.NDArray[np.bool_], some: tuple[Ids, Offsets], rest: tuple[Ids, Offsets]
) -> tuple[Ids, Offsets]:
    """Ids and offsets of all texts: of ``some`` where ``mask`` (n,) is set, else of ``rest``."""
    lengths = np.empty(len(mask), np.int64)
    lengths[mask], lengths[~mask] = np.diff(some[1]), np.diff(rest[1])
    offsets = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    of_some = np.repeat(mask, lengths)
    ids = np.empty(len(of_some), np.int32)
    ids[of_some], ids[~of_some] = some[0], rest[0]
    return ids, offsets


def _pairs_and_specials(spec: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """The ids of the pairs that ASCII can spell, and what other added tokens are spelled as."""
    model, normalizer = spec["model"], spec.get("normalizer") or {}
    if (model.get("type"), normalizer.get("type")) != ("WordPiece", "BertNormalizer"):
        raise Unsupported("pairs of words are only found for WordPiece behind BERT's normalizer")
    if not (normalizer.get("lowercase") and normalizer.get("clean_text")):
        raise Unsupported("pairs of words are only found where texts become lower case")
    pairs: dict[str, int] = {}
    specials: list[str] = []
    for token in spec.get("added_tokens") or ():
        content = token["content"]
        if not token["normalized"]:
            specials.append(content)
        elif not _is_pair(token):
            raise Unsupported(f"the added token {content[:40]!a} is no pair of words")
        elif content.isascii():
            pairs[content] = row = model["vocab"][content]
            if row != token["id"]:
                raise Unsupported(f"the pair {content[:40]!a} has two ids")
    if not pairs:
        raise Unsupported("it knows no pairs of words")
    if max(map(len, pairs)) > model.get("max_input_chars_per_word", 100):
        raise Unsupported("a pair of words is longer than a word may be")
    return pairs, specials


def _is_pair(token: Mapping[str, Any]) -> bool:
    content: str = token["content"]
    letters = content.replace(" ", "").replace("'", "").replace("\u2019", "")
    return (
        bool(token["single_word"] and not token["special"])
        and letters.isalpha()
        and content == content.lower()
        and content[0].isalpha()
        and content[-1].isalpha()
    )


def _with_words_for(pairs: Mapping[str, int], spec: Mapping[str, Any]) -> str:
    """The tokenizer.json of texts in lower case already, where joined pairs are words."""
    model = spec["model"]
    joined = {"".join(_JOINTS.get(c, c) for c in pair): row for pair, row in pairs.items()}
    vocabulary = {piece: row for piece, row in model["vocab"].items() if piece not in pairs}
    if joined.keys() & vocabulary.keys():
        raise Unsupported("a joined pair of words is a word already")
    changed = {
        "normalizer": {**spec["normalizer"], "lowercase": False},
        "model": {**model, "vocab": {**vocabulary, **joined}},
        "added_tokens": [token for token in spec["added_tokens"] if not token["normalized"]],
    }
    return json.dumps({**spec, **changed}, ensure_ascii=False)


def _edits(pair: str) -> tuple[tuple[int, int], ...]:
    """Where in a pair to write which byte."""
    return tuple((place, ord(_JOINTS[c])) for place, c in enumerate(pair) if c in _JOINTS)
