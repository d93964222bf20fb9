"""Proof that a transformer's graph computes what the network computes, as ``export.parity`` has it
for static students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE
from stillroom_server.distillation.export.parity import (
    FIXED_TEXTS,
    ParityReport,
    _compare,
    _runtime_errors,
)
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer
from stillroom_server.distillation.transformer.batches import padded

if TYPE_CHECKING:
    from stillroom_server.distillation.transformer.network import StudentNetwork
    from stillroom_server.distillation.transformer.workers import Workers

# Two libraries add float32 products up in different orders, layer upon layer: measured 1e-6 for
# MiniLM's layers. A wrong mask, position or pooling costs more than a tenth.
MIN_COSINE = 0.99999
MAX_ERROR = 1e-3
RUNS = 24
TEXTS = 64  # of the corpus, beside the awkward ones
# Batches that texts are put into: (texts, columns of padding beyond the longest).
_BATCHES = ((1, 0), (1, 9), (3, 0), (8, 5), (32, 0), (64, 1))


def check(
    folder: Path,
    network: StudentNetwork,
    tokenizer: TeacherTokenizer,
    texts: Sequence[str],
    *,
    workers: Workers,
    seed: int,
    runs: int = RUNS,
    on_run: Callable[[int], None] | None = None,
) -> ParityReport:
    """Compares onnx/model.onnx of ``folder`` with ``network``, on awkward texts and ``texts``.

    Every text is in several batches, alone and padded, under the strangers' ids that a mask must
    hide, in sessions with default options (every core). ``max_abs_error`` is in units of the
    vector's length. Raises FailedPrecondition (PARITY_FAILED) with the figures as metadata.
    """
    import onnxruntime

    rows = [row for row in tokenizer.encode([*FIXED_TEXTS, *texts]) if row]
    expected = _expected(network, rows, workers)
    rng = np.random.default_rng(seed)
    worst_error, worst_cosine, at = 0.0, 1.0, 0
    try:
        session = onnxruntime.InferenceSession(
            str(folder / ONNX_FILE), providers=["CPUExecutionProvider"]
        )
        for run in range(runs):
            count, padding = _BATCHES[run % len(_BATCHES)]
            chosen = [(at + offset) % len(rows) for offset in range(min(count, len(rows)))]
            at += count
            ids, mask = _strangers([rows[i] for i in chosen], padding, tokenizer, rng)
            feeds = {"input_ids": ids, "attention_mask": mask}
            (found,) = session.run(["sentence_embedding"], feeds)
            error, cosine = _compare(found, expected[chosen])
            worst_error, worst_cosine = max(worst_error, error), min(worst_cosine, cosine)
            if on_run is not None:
                on_run(run + 1)
    except _runtime_errors() as failure:
        raise FailedPrecondition(
            f"the exported graph does not run: {failure}", reason="PARITY_FAILED"
        ) from failure
    report = ParityReport(worst_error, worst_cosine, min(at, len(rows)), runs)
    if not (worst_error <= MAX_ERROR and worst_cosine >= MIN_COSINE):
        raise FailedPrecondition(
            f"the exported graph differs from the network: error {worst_error:.3g} (at most"
            f" {MAX_ERROR:g}), cosine {worst_cosine:.9f} (at least {MIN_COSINE}) in {runs} runs",
            reason="PARITY_FAILED",
            metadata={name: f"{value:.9g}" for name, value in report.as_dict().items()},
        )
    return report


def _expected(
    network: StudentNetwork, rows: Sequence[list[int]], workers: Workers
) -> NDArray[np.float64]:
    """Each text alone, without padding: the batch that cannot go wrong."""
    import torch

    def alone(row: list[int]) -> NDArray[np.float64]:
        with torch.no_grad():
            found: NDArray[np.float64] = (
                network(*map(torch.from_numpy, padded([row]))).double().numpy()
            )
            return found

    return np.concatenate(workers.run([partial(alone, row) for row in rows]))


def _strangers(
    rows: Sequence[list[int]],
    padding: int,
    tokenizer: TeacherTokenizer,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ids, mask = padded(rows)
    if tokenizer.max_tokens is not None:  # there may be no positions beyond
        padding = min(padding, tokenizer.max_tokens - ids.shape[1])
    ids, mask = (np.pad(part, ((0, 0), (0, max(0, padding)))) for part in (ids, mask))
    noise = rng.integers(0, tokenizer.largest_id + 1, ids.shape)
    return np.where(mask == 1, ids, noise), mask
