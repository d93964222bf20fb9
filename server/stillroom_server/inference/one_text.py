"""The embedding of one short text with default options, which most unary requests ask for.

The general way handles any list and any options with a fixed number of array operations; for one
text their fixed costs are nearly all of the time. This is the same arithmetic in a fraction of the
calls, and answers None for whatever is out of the ordinary: the general way then decides.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stillroom_server.inference.encoding import to_float32
from stillroom_server.inference.engines.base import StudentEngine
from stillroom_server.inference.numerics import normalize_one
from stillroom_server.inference.tokenizers.base import Tokenizer


class OneVector(NamedTuple):
    """``data`` is the normalized float32 (d,) vector, little-endian; then come the tokens, the
    seconds of both steps, and when the last ended, in seconds of the clock."""

    data: bytes
    tokens: int
    tokenize: float
    infer: float
    end: float


class OneText:
    """Embeds with one student. Safe under any threads."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        engine: StudentEngine,
        max_tokens: int,
        clock: Callable[[], float],
    ) -> None:
        self._encode = tokenizer.encode_one
        self._pool = engine.pool_one
        self._max_tokens = max_tokens
        self._clock = clock

    def __call__(self, text: str) -> OneVector | None:
        """What ``StudentEmbedder.embed([text])`` gives, to the bit; None where that would cut the
        text, warn of it, or raise."""
        clock = self._clock
        start = clock()
        try:
            ids = self._encode(text)
        except BaseException:  # a panic of compiled code is no Exception
            return None
        tokens = len(ids)
        if tokens > self._max_tokens:
            return None
        tokenized = clock()
        vector = self._pool(ids)
        if not normalize_one(vector):
            return None
        data = _to_bytes(vector)
        end = clock()
        return OneVector(data, tokens, tokenized - start, end - tokenized, end)


_to_bytes = np.ndarray.tobytes if sys.byteorder == "little" else to_float32
