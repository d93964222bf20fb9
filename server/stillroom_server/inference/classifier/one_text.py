"""The label of one short text with default options, which most unary requests ask for.

The same arithmetic as the general way's in a fraction of the calls; None for whatever is out of the
ordinary: the general way then decides.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import NamedTuple

import numpy as np

from stillroom_server.inference.classifier.head import Head
from stillroom_server.inference.classifier.plans import ClassifyPlan
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.engines.base import Float32, StudentEngine
from stillroom_server.inference.numerics import normalize_one
from stillroom_server.inference.tokenizers.base import Tokenizer, offsets_of_one

_FEW_LABELS = 256


class OneAnswer(NamedTuple):
    """The best label's index and probability, which is the confidence; then come the tokens, the
    seconds of the three steps, and when the last ended, in seconds of the clock."""

    label_index: int
    probability: float
    abstained: bool
    tokens: int
    tokenize: float
    infer: float
    head: float
    end: float


class OneLabel:
    """Classifies with one single-label classifier on a static student. Safe under any threads."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        engine: StudentEngine,
        head: Head,
        *,
        max_tokens: int,
        abstention_threshold: float,
        clock: Callable[[], float],
    ) -> None:
        self._encode = tokenizer.encode_one
        self._pool = engine.pool_one
        self._logits = head.logits
        self._score_one = head.score_one
        self._max_tokens = max_tokens
        self._threshold = abstention_threshold
        self._clock = clock

    @classmethod
    def of(
        cls,
        embedder: StudentEmbedder,
        head: Head,
        how: ClassifyPlan,
        clock: Callable[[], float],
    ) -> OneLabel | None:
        """None for a classifier whose texts or answers need more than the shortest way."""
        encoding = embedder.validate(how.encoding)
        plain = encoding.normalize and not encoding.prompt
        if not plain or encoding.dimensions != embedder.dimensions or how.thresholds is not None:
            return None
        return cls(
            embedder.tokenizer,
            embedder.engine,
            head,
            max_tokens=encoding.max_tokens,
            abstention_threshold=how.abstention_threshold,
            clock=clock,
        )

    def __call__(self, text: str) -> OneAnswer | None:
        """What ``Classifier.classify([text])`` answers; None where that would cut the text, warn of
        it, or raise."""
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
        inferred = clock()
        if self._score_one is not None:
            scores = self._score_one(vector, ids)
        else:
            scores = self._logits(vector[None], ids, offsets_of_one(tokens))[0]
        best, probability = _best(scores)
        end = clock()
        return OneAnswer(
            best,
            probability,
            probability < self._threshold,
            tokens,
            tokenized - start,
            inferred - tokenized,
            end - inferred,
            end,
        )


def _best(scores: Float32) -> tuple[int, float]:
    """The highest of scores (K,) and its softmax. Of few as plain numbers: a numpy scalar costs
    more where other code ran meanwhile."""
    if len(scores) > _FEW_LABELS:
        best = int(scores.argmax())
        return best, float(1 / np.exp(scores - scores[best]).sum())
    values: list[float] = scores.tolist()
    top = max(values)
    return values.index(top), 1 / sum([exp(value - top) for value in values])
