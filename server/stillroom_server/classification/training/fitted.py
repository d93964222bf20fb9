"""What a fit gives, what it says of texts, and the arrays that it is kept as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.features.encoded import Encoded, StudentTable
from stillroom_server.distillation.export.quantize import quantize
from stillroom_server.inference.classifier.head import Head, HeadArrays, NgramArrays
from stillroom_server.inference.engines.base import Float32
from stillroom_server.inference.engines.gather import GatherEngine
from stillroom_server.inference.numerics import normalize
from stillroom_server.inference.tokenizers.base import count

SOLVED, EARLY_STOPPED, MAX_EPOCHS, TIME_BUDGET = ENDS = (
    *("solved", "early_stopped"),
    *("max_epochs", "time_budget"),
)
_TEXTS_AT_ONCE = 4096

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Fitted:
    """``rows`` float32 (vocab, d): what each token of a tuned student adds, None where it is
    frozen; ``token_weights`` float32 (vocab,): what its weights were multiplied by. ``epochs`` are
    TrainingEpoch in JSON, ``best_epoch`` the one that was kept (0: a solver), ``end`` one of
    ``ENDS``."""

    head: HeadArrays
    rows: Float32 | None = None
    token_weights: Float32 | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    end: str = SOLVED

    def scores(self, encoded: Encoded, table: StudentTable | None) -> Float32:
        """float32 (n, K) of texts of the encoder, whose ``table`` it is."""
        head = Head(self.head)
        out = np.empty((len(encoded), self.head.outputs), np.float32)
        engine = None if self.rows is None else GatherEngine(self.rows)
        for start in range(0, len(encoded), _TEXTS_AT_ONCE):
            part = np.arange(start, min(start + _TEXTS_AT_ONCE, len(encoded)))
            texts = encoded.take(part)
            vectors = texts.vectors
            if engine is not None and table is not None:
                vectors = _pooled(engine, texts, table)
            out[part] = head.logits(vectors, texts.ids, texts.offsets)
        return out

    def rounded(self, element_type: str) -> Fitted:
        """With the table as it will be stored."""
        if self.rows is None:
            return self
        stored, scales = quantize(self.rows, element_type)
        rows = stored.astype(np.float32)
        if scales is not None:
            rows *= scales[:, None]
        return Fitted(self.head, rows, self.token_weights, self.epochs, self.best_epoch, self.end)

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        arrays: Arrays = {}
        for at, (weights, bias) in enumerate(self.head.layers):
            arrays[f"weight{at}"], arrays[f"bias{at}"] = weights, bias
        ngrams = self.head.ngrams
        if ngrams is not None:
            arrays |= {"slots": ngrams.slots, "prints": ngrams.prints, "ngrams": ngrams.rows}
        if self.rows is not None:
            arrays["rows"] = self.rows
        if self.token_weights is not None:
            arrays["token_weights"] = self.token_weights
        facts = {
            "layers": len(self.head.layers),
            "runs": None if ngrams is None else [ngrams.min_n, ngrams.max_n],
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "end": self.end,
        }
        return arrays, facts

    @classmethod
    def from_arrays(cls, arrays: Arrays, facts: Mapping[str, Any]) -> Fitted:
        layers = tuple(
            (arrays[f"weight{at}"], arrays[f"bias{at}"]) for at in range(facts["layers"])
        )
        ngrams = None
        if facts["runs"] is not None:
            least, most = facts["runs"]
            found = (arrays["slots"], arrays["prints"], arrays["ngrams"])
            ngrams = NgramArrays(least, most, *found)
        return cls(
            HeadArrays(layers, ngrams),
            arrays.get("rows"),
            arrays.get("token_weights"),
            facts["epochs"],
            facts["best_epoch"],
            facts["end"],
        )


def _pooled(engine: GatherEngine, texts: Encoded, table: StudentTable) -> Float32:
    assert texts.ids is not None
    assert texts.offsets is not None
    vectors = engine.pool(texts.ids, texts.offsets)
    if table.normalize:
        normalize(vectors)
    else:
        known = texts.tokens - count(texts.ids, texts.offsets, table.unknown)
        vectors /= np.maximum(known, 1).astype(np.float32)[:, None]
    return vectors
