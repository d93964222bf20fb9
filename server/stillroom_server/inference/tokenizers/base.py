"""What a tokenizer engine is, and the numpy that cuts and counts its flat ids.

Texts become one flat array of ids and the offsets of each text in it, so a request costs a few
array operations however many texts it holds. Limits are applied to those arrays: the truncation of
a tokenizer object is shared state, and setting it for a request corrupts the others in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NOT_TRUNCATED: Bools = np.zeros(1, np.bool_)  # shared by most answers about one text
_NOT_TRUNCATED.setflags(write=False)


class Tokenizer(Protocol):
    """Texts in, ids out, without special tokens and without truncation. Safe under any threads."""

    @property
    def name(self) -> str: ...

    @property
    def nbytes(self) -> int:
        """About how much memory it holds, in bytes."""
        ...

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """Return ids int32 (total,) and offsets int64 (n + 1,) of n texts.

        Raises UnicodeEncodeError or TypeError on a text that is not valid UTF-8 or no str.
        """
        ...

    def encode_one(self, text: str) -> Ids:
        """Return the ids of a single text, and raise, as ``encode`` of it does."""
        ...


TokenizerFactory = Callable[[str], Tokenizer]
"""Builds an engine from the text of a tokenizer.json; raises Unsupported when it cannot."""


class Unsupported(Exception):
    """This engine does not do that tokenizer, or is not installed; the text says which, and nothing
    where nobody would expect it to."""


class TokenBatch(NamedTuple):
    """n tokenized texts: ids int32 (total,), offsets int64 (n + 1,), lengths int64 (n,) of each
    text after the cut, truncated bool (n,)."""

    ids: Ids
    offsets: Offsets
    lengths: Offsets
    truncated: Bools


@lru_cache(1024)
def offsets_of_one(tokens: int) -> Offsets:
    """The offsets of a single text, only to read: making them costs a fifth of tokenizing it."""
    offsets = np.array((0, tokens), np.int64)
    offsets.setflags(write=False)
    return offsets


def limit(ids: Ids, offsets: Offsets, max_tokens: int, *, left: bool = False) -> TokenBatch:
    """Cut every text to ``max_tokens``: its end, or with ``left`` its beginning."""
    lengths = offsets[1:] - offsets[:-1]
    truncated = lengths > max_tokens
    if 1 in truncated.tobytes():  # a fifth of the cost of any()
        kept = np.minimum(lengths, max_tokens)
        first = offsets[1:] - kept if left else offsets[:-1]
        offsets = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(kept, out=offsets[1:])
        ids = ids[np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], kept)]
        lengths = kept
    return TokenBatch(ids, offsets, lengths, truncated)


def limit_one(ids: Ids, offsets: Offsets, max_tokens: int, *, left: bool = False) -> TokenBatch:
    """``limit`` for a single text, as most unary requests hold: a tenth of the cost."""
    size = len(ids)
    if size <= max_tokens:
        return TokenBatch(ids, offsets, offsets[1:], _NOT_TRUNCATED)
    cut = ids[size - max_tokens :] if left else ids[:max_tokens]
    offsets = np.array((0, max_tokens), np.int64)
    return TokenBatch(cut, offsets, offsets[1:], np.ones(1, np.bool_))


def count(ids: Ids, offsets: Offsets, wanted: int | None) -> Offsets:
    """Return int64 (n,): how often the id ``wanted`` occurs in each text."""
    found = np.flatnonzero(ids == wanted) if wanted is not None else None
    if found is None or not found.size:
        return np.zeros(len(offsets) - 1, np.int64)
    before: Offsets = np.searchsorted(found, offsets)
    return before[1:] - before[:-1]
