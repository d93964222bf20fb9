"""The tokens that a tokenizer puts around every text, added to flat ids with numpy.

Texts are tokenized without them, so the fast tokenizers and the cut per request are those of every
student; what the post-processor would add is the same for each text and known from one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stillroom_server.inference.tokenizers.base import Ids, Offsets, Unsupported

_SAMPLES = ("a", "", "A card, please. 漢字 é", "one two three four five six seven")


class SpecialTokens(NamedTuple):
    """``before`` and ``after`` each text, int32 ids, such as [CLS] and [SEP]."""

    before: Ids
    after: Ids

    @property
    def size(self) -> int:
        return len(self.before) + len(self.after)

    def surround(self, ids: Ids, offsets: Offsets) -> tuple[Ids, Offsets]:
        """Return ids (total + n * size,) and offsets (n + 1,) of n texts with the tokens added."""
        texts = len(offsets) - 1
        moved = offsets + np.arange(texts + 1) * self.size
        out = np.empty(int(moved[-1]), np.int32)
        starts = moved[:-1] + len(self.before)
        lengths = offsets[1:] - offsets[:-1]
        out[np.arange(len(ids)) + np.repeat(starts - offsets[:-1], lengths)] = ids
        for at, token in enumerate(self.before):
            out[moved[:-1] + at] = token
        for at, token in enumerate(self.after):
            out[moved[1:] - len(self.after) + at] = token
        return out, moved


def find_special_tokens(tokenizer_json: str, plain_json: str) -> SpecialTokens:
    """Return what the tokenizer adds to the tokens of a plain one, and check that that is all.

    Raises Unsupported for a tokenizer that does not load, or that does something else to texts.
    """
    from tokenizers import Tokenizer

    try:
        backend, plain = Tokenizer.from_str(tokenizer_json), Tokenizer.from_str(plain_json)
    except Exception as failure:  # the library raises bare Exception
        raise Unsupported(f"tokenizers cannot load it: {failure}") from failure
    for tokenizer in (backend, plain):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    whole = backend.encode("a")
    own = [at for at, special in enumerate(whole.special_tokens_mask) if not special]
    first, last = (own[0], own[-1] + 1) if own else (len(whole.ids), len(whole.ids))
    before, after = list(whole.ids[:first]), list(whole.ids[last:])
    for text in _SAMPLES:
        if backend.encode(text).ids != [*before, *plain.encode(text).ids, *after]:
            raise Unsupported("its post-processor does more than put tokens around a text")
    return SpecialTokens(np.array(before, np.int32), np.array(after, np.int32))
