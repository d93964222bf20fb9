"""What a head makes of encoded texts, block by block."""

from __future__ import annotations

import numpy as np

from stillroom_server.classification.features.encoded import Encoded
from stillroom_server.distillation.context import Context
from stillroom_server.inference.classifier.head import Head, HeadArrays, probabilities
from stillroom_server.inference.engines.base import Float32

PHASE = "classify"
_AT_ONCE = 1 << 21  # scores
_MOST_TEXTS = 8192


def scores_of(head: HeadArrays, encoded: Encoded, context: Context) -> Float32:
    """Scores float32 (n, K), before calibration. Reports the phase "classify"."""
    computing = Head(head)
    count, columns = len(encoded), computing.outputs
    scores = np.empty((count, columns), np.float32)
    step = max(1, min(_MOST_TEXTS, _AT_ONCE // columns))
    context.progress(PHASE, 0, count, unit="texts")
    for start in range(0, count, step):
        context.check_cancelled()
        part = slice(start, min(start + step, count))
        ids = offsets = None
        if encoded.ids is not None and encoded.offsets is not None:
            ends = encoded.offsets[part.start : part.stop + 1]
            ids, offsets = encoded.ids[ends[0] : ends[-1]], ends - ends[0]
        scores[part] = computing.logits(encoded.vectors[part], ids, offsets)
        context.progress(PHASE, part.stop, count, unit="texts")
    return scores


def probabilities_of(scores: Float32, temperature: float, task: str) -> Float32:
    """Probabilities float32 (n, K); never more than a block of anything beside them."""
    found = np.empty_like(scores)
    step = max(1, _AT_ONCE // max(1, scores.shape[1]))
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        found[part] = probabilities(scores[part], temperature, task)
    return found
