"""What a call of a classifier answers."""

from __future__ import annotations

from typing import NamedTuple

from stillroom_server.inference.classifier.answers import Bools, Int32
from stillroom_server.inference.engines.base import Float32
from stillroom_server.inference.results import Warnings


class ClassifyTimings(NamedTuple):
    """Seconds a phase."""

    tokenize: float
    infer: float
    head: float
    queue: float = 0.0


class Classified(NamedTuple):
    """n texts, in the order they came. The first six columns are those of ``answers.Answers``;
    tokens int32 (n,), truncated bool (n,) and warnings uint8 (n,) are as in EmbedResult; vectors
    float32 (n, d) that the head read, None unless asked for."""

    label_counts: Int32
    label_indices: Int32
    probabilities: Float32
    applies: Bools | None
    confidences: Float32
    abstained: Bools | None
    tokens: Int32
    truncated: Bools
    warnings: Warnings
    vectors: Float32 | None
    timings: ClassifyTimings


def share_of(took: tuple[float, float, float], part: slice, texts: int) -> ClassifyTimings:
    """What of the seconds of so many texts falls to a part of them."""
    share = (part.stop - part.start) / texts if texts else 1.0
    return ClassifyTimings(*(share * seconds for seconds in took))
