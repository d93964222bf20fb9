"""Compares two engines: the same directions and lengths on fixed and random texts, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stillroom_server.inference.engines.base import Float32, Ids, Offsets, Scale, StudentEngine
from stillroom_server.inference.tokenizers.base import count

TOLERANCE = 1e-5
"""Largest difference between elements of unit vectors; sums of 512 rows differ by some 1e-6."""

_SEED = 20_250_601


class Parity(NamedTuple):
    """The outcome: the largest difference between elements of unit vectors, over so many texts."""

    worst: float
    texts: int

    @property
    def equal(self) -> bool:
        return self.worst <= TOLERANCE  # False for NaN

    def __str__(self) -> str:
        return f"within {self.worst:.1e} of onnx/model.onnx on {self.texts} texts"


def compare(
    engine: StudentEngine, reference: StudentEngine, vocabulary_size: int, unk_id: int | None
) -> Parity:
    """Compare ``engine``, of whatever scale, with ``reference``, which gives sums."""
    ids, offsets = sample_texts(vocabulary_size, unk_id)
    found = engine.pool(ids, offsets)
    expected = reference.pool(ids, offsets)
    if engine.scale is Scale.MEAN:
        known = offsets[1:] - offsets[:-1] - count(ids, offsets, unk_id)
        expected = expected / np.maximum(known, 1).astype(np.float32)[:, None]
        peak = np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), np.float32(1e-12))
        found, expected = found / peak, expected / peak
    else:
        expected = unit(expected)
    return Parity(float(np.abs(found - expected).max()), len(found))


def sample_texts(vocabulary_size: int, unk_id: int | None) -> tuple[Ids, Offsets]:
    """Texts as ids: empty, single tokens all over the table, unknown ones, up to 512 at random."""
    rng = np.random.default_rng(_SEED)
    singles = np.unique(np.linspace(0, vocabulary_size - 1, 64).astype(np.int32))
    texts = [np.zeros(0, np.int32), *singles[:, None]]
    texts += [rng.integers(0, vocabulary_size, n, dtype=np.int32) for n in (511, 512, 1, 2, 3)]
    texts += [rng.integers(0, vocabulary_size, n, dtype=np.int32) for n in rng.integers(1, 48, 128)]
    if unk_id is not None:
        known = rng.integers(0, vocabulary_size, 12, dtype=np.int32)
        texts += [np.full(1, unk_id, np.int32), np.full(9, unk_id, np.int32)]
        texts += [np.insert(known, (0, 6, 12), unk_id).astype(np.int32)]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return np.concatenate(texts), offsets


def unit(vectors: Float32) -> Float32:
    """Divide each row by its norm; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.zeros_like(vectors)
    np.divide(vectors, norms, out=out, where=norms > 0)
    return out


def time_batch(
    engine: StudentEngine, vocabulary_size: int, clock: Callable[[], float], texts: int = 32
) -> float:
    """Return the fastest of nine runs over ``texts`` texts of 16 tokens, in units of ``clock``."""
    rng = np.random.default_rng(_SEED)
    ids = rng.integers(0, vocabulary_size, 16 * texts, dtype=np.int32)
    offsets = np.arange(texts + 1, dtype=np.int64) * 16
    times = []
    for _ in range(9):
        start = clock()
        engine.pool(ids, offsets)
        times.append(clock() - start)
    return min(times)
