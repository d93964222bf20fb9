"""What a classifier computes, in float64 and run by run: the yardstick of its ONNX file.

Deliberately apart from the code that serves, text by text: a yardstick that shares its code shares
its faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.export.reference import StudentArrays
from stillroom_server.inference.classifier.files import ClassifierFiles, EncoderKind
from stillroom_server.inference.classifier.head import Task
from stillroom_server.inference.classifier.run_hashes import MODULUS, MULTIPLIERS

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class ClassifierReference:
    """``student`` is None unless the encoder is a static student."""

    files: ClassifierFiles
    student: StudentArrays | None

    @classmethod
    def read(cls, folder: Path) -> ClassifierReference:
        """Raises what ``ClassifierFiles.load`` and ``StudentArrays.read`` raise."""
        files = ClassifierFiles.load(folder)
        static = files.encoder is EncoderKind.STATIC
        return cls(files, StudentArrays.read(folder) if static else None)

    def logits(self, vectors: Float64, ids: Sequence[Sequence[int]] | None = None) -> Float64:
        """Calibrated scores (n, K) of vectors (n, d) as the head reads them, and of their tokens
        where it reads those, too."""
        out = vectors
        layers = self.files.head.layers
        for i, (weights, bias) in enumerate(layers):
            out = out @ weights.astype(np.float64) + bias.astype(np.float64)
            if i < len(layers) - 1:
                out = np.maximum(out, 0.0)
        if self.files.head.ngrams is not None and ids is not None:
            out = out + np.stack([self._bag(tokens) for tokens in ids])
        return out / self.files.description.temperature

    def vectors(self, raw: Float64) -> Float64:
        """The encoder's vectors (n, D) as the head reads them: cut, then normalized."""
        out = raw[:, : self.files.description.dimensions].copy()
        if self.files.description.encoding.normalize is False:
            return out
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        np.divide(out, norms, out=out, where=norms > 0)
        return out

    def probabilities(self, logits: Float64) -> Float64:
        """Of calibrated scores."""
        if self.files.description.task is Task.MULTI_LABEL:
            return np.exp(-np.logaddexp(0.0, -logits))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))

    def _bag(self, tokens: Sequence[int]) -> Float64:
        runs = self.files.head.ngrams
        assert runs is not None
        total, counted = np.zeros(runs.rows.shape[1]), 0
        for n in range(runs.min_n, min(runs.max_n, len(tokens)) + 1):
            places, marks = (_hashes(tokens, n, by) for by in MULTIPLIERS)
            slots = places % len(runs.slots)
            rows = runs.slots[slots][runs.prints[slots] == marks]
            rows = rows[rows > 0]
            total += runs.rows[rows].sum(axis=0, dtype=np.float64)
            counted += len(rows)
        total /= np.sqrt(max(1, counted))
        return total


def _hashes(tokens: Sequence[int], n: int, multiplier: int) -> NDArray[np.int64]:
    """The polynomials of all runs of n tokens, power by power."""
    powers = np.array([pow(multiplier, n - 1 - i, MODULUS) for i in range(n)], np.int64)
    runs = np.lib.stride_tricks.sliding_window_view(np.asarray(tokens, np.int64) + 1, n)
    return np.asarray((runs * powers % MODULUS).sum(axis=1) % MODULUS)
