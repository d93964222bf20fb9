"""A transformer student's graph under onnxruntime: padded batches, tried when it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.engines.base import Float32, Ids, Offsets
from stillroom_server.inference.engines.onnx import (
    OUTPUT,
    GraphError,
    batches,
    check_signature,
    open_session,
)
from stillroom_server.inference.engines.parity import TOLERANCE, unit

BATCH_TOKENS = 512
"""Padded tokens of one run. On one thread 1,024 take a tenth longer and 4,096 nearly twice as long,
for what a layer hands to the next no longer fits the cache."""

_TRIED_TOKENS = 512  # of the longest text that is tried at load; attention needs its square
_SEED = 20_250_601
_BYTES_PER_FILE_BYTE = 1.4  # resident memory of a session, per byte of its file (measured)

Rows = npt.NDArray[np.int64]


class Trial(NamedTuple):
    """``worst``: how far a text's unit vector moved when others shared its run."""

    dimensions: int
    worst: float

    @property
    def batchable(self) -> bool:
        return self.worst <= TOLERANCE


class TransformerGraph:
    """ids and offsets, special tokens included -> float32 (n, d). Safe under any threads.

    A graph whose vectors depend on what shares a run, as dynamically quantized ones do, gets one
    text a run: then no text's vector depends on its neighbors.
    """

    name = "onnxruntime"

    def __init__(
        self,
        file: Path,
        *,
        vocabulary_size: int,
        max_tokens: int,
        pad_id: int,
        dimensions: int | None = None,
    ) -> None:
        """Load and try ``file``; ``dimensions`` are those it should have. Raises GraphError."""
        self._session = open_session(file)
        stated = check_signature(self._session)
        self._pad_id = pad_id
        self.dimensions, worst = self._try(vocabulary_size, max_tokens)
        for promised, where in ((stated, "its output"), (dimensions, "the configuration")):
            if promised not in (None, self.dimensions):
                raise GraphError(f"it gives {self.dimensions} dimensions, {where} says {promised}")
        self.trial = Trial(self.dimensions, worst)
        size = sum(part.stat().st_size for part in file.parent.glob(file.name + "*"))
        self.nbytes = int(_BYTES_PER_FILE_BYTE * size)

    def plan(self, lengths: Offsets) -> list[Rows]:
        """The rows of each run, the longest texts first; rows without a token are left out."""
        if self.trial.batchable:
            return list(batches(lengths, BATCH_TOKENS))[::-1]
        order = np.argsort(-lengths, kind="stable")
        return list(order[lengths[order] > 0][:, None])

    def run(self, ids: Ids, offsets: Offsets, rows: Rows, out: Float32) -> None:
        """Put the vectors of these texts into ``out`` (n, d). Raises GraphError."""
        padded, mask = pad(ids, offsets[rows], offsets[rows + 1] - offsets[rows], self._pad_id)
        out[rows] = self._run(padded, mask, self.dimensions)

    def _run(
        self, padded: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], dimensions: int | None
    ) -> Float32:
        found: Any
        (found,) = self._session.run([OUTPUT], {"input_ids": padded, "attention_mask": mask})
        wanted = (len(padded), found.shape[-1] if dimensions is None else dimensions)
        if found.shape != wanted:  # else numpy might broadcast it
            raise GraphError(f"it answered the shape {found.shape} for {len(padded)} texts")
        vectors: Float32 = found
        return vectors

    def _try(self, vocabulary_size: int, max_tokens: int) -> tuple[int, float]:
        """Run it on ids all over the vocabulary, alone and together, and on a long text."""
        ids, offsets = _sample(vocabulary_size, max_tokens, self._pad_id)
        starts, lengths = offsets[:-1], offsets[1:] - offsets[:-1]
        longest = min(max_tokens, _TRIED_TOKENS)
        try:
            together = self._run(*pad(ids, starts, lengths, self._pad_id), None)
            alone = np.concatenate(
                [
                    self._run(*pad(ids, starts[[i]], lengths[[i]], self._pad_id), None)
                    for i in range(len(starts))
                ]
            )
            long = np.resize(ids, (1, longest)).astype(np.int64)
            last = self._run(long, np.ones_like(long), together.shape[1])
        except GraphError:
            raise
        except Exception as failure:  # whatever a graph may raise when it runs
            raise GraphError(
                f"it does not run on {vocabulary_size} ids and texts of {longest} tokens: {failure}"
            ) from failure
        for vectors in (together, alone, last):
            if not np.isfinite(vectors).all():
                raise GraphError("it computes NaN or infinite values")
        worst = float(np.abs(unit(together) - unit(alone)).max())
        return int(together.shape[1]), worst


def pad(
    ids: Ids, starts: Offsets, lengths: Offsets, pad_id: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Texts of flat ids as input_ids and attention_mask, int64 (n, longest), padded at the end."""
    columns = np.arange(int(lengths.max()))
    mask = columns < lengths[:, None]
    padded = np.full(mask.shape, pad_id, np.int64)
    padded[mask] = ids[(starts[:, None] + columns)[mask]]
    return padded, mask.astype(np.int64)


def _sample(vocabulary_size: int, max_tokens: int, pad_id: int) -> tuple[Ids, Offsets]:
    """Texts of 1 to 24 tokens; the last ids of the vocabulary are among them, padding is not."""
    rng = np.random.default_rng(_SEED)
    lengths = np.minimum([24, 1, 7, 16, 3, 12], max_tokens)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    ids = rng.integers(0, vocabulary_size, int(offsets[-1]), dtype=np.int32)
    ids[0] = vocabulary_size - 1
    ids[ids == pad_id] = vocabulary_size - 1
    return ids, offsets
