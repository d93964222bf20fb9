"""Proof that a classifier's ONNX file computes what its weights say, in float64.

As of students' graphs: many runs under onnxruntime's default session options, half of them over few
rows of thousands of tokens, where a graph that races would show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import Internal
from stillroom_server.classification.export.onnx_graph import CLASSIFIER_FILE, HEAD_FILE, OUTPUT
from stillroom_server.classification.export.reference import ClassifierReference, Float64
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE as STUDENT_FILE
from stillroom_server.distillation.export.parity import FIXED_TEXTS, LONGEST
from stillroom_server.distillation.export.reference import encode, load_tokenizer
from stillroom_server.inference.classifier.files import EncoderKind
from stillroom_server.inference.transformer.files import TransformerFiles

RUNS = 32
# Of a probability. Scores far from zero carry rounding of their own size.
MAX_ERROR = 1e-4
_PER_SCORE = 2e-6
_TEXTS_A_RUN = 64
_MOST_TEXTS = 192
_SHAPES = ((1, 1), (1, 17), (7, 3), (16, 64), (64, 33), (1, LONGEST))
_LONG_SHAPES = ((1, 4096), (4, 1024))


class _Batch(NamedTuple):
    feeds: dict[str, NDArray[Any]]
    logits: Float64


def check(
    folder: Path,
    texts: Sequence[str] = (),
    *,
    seed: int = 0,
    runs: int = RUNS,
    on_run: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Compares the ONNX file of the classifier in ``folder`` with its weights: on ``texts``, of
    which at most 192 are taken, on odd ones and on random tokens.

    Returns the JSON of a ClassifierParity. ``on_run`` is called with the number of runs done
    (progress, cancellation). Raises Internal(PARITY_FAILED), with the figures as metadata, when the
    graph does not load, does not run or differs.
    """
    import onnxruntime

    reference = ClassifierReference.read(folder)
    rng = np.random.default_rng(seed)
    batches = _batches(reference, texts, rng)
    name = HEAD_FILE if reference.files.encoder is EncoderKind.TEACHER else CLASSIFIER_FILE
    worst, disagreements = 0.0, np.zeros(len(batches), np.int64)
    tolerance = MAX_ERROR
    runs = max(runs, len(batches))
    try:
        session = onnxruntime.InferenceSession(
            str(folder / name), providers=["CPUExecutionProvider"]
        )
        for run in range(runs):
            at = run % len(batches)
            batch = batches[at]
            (found,) = session.run([OUTPUT], batch.feeds)
            error, differ = _compare(reference, found, batch.logits)
            peak = float(np.abs(batch.logits).max(initial=0.0))
            tolerance = max(tolerance, _PER_SCORE * peak)
            worst, disagreements[at] = max(worst, error), max(disagreements[at], differ)
            if on_run is not None:
                on_run(run + 1)
    except Internal:
        raise
    except _runtime_errors() as failure:
        raise Internal(
            f"the exported graph does not run: {failure}", reason="PARITY_FAILED"
        ) from failure
    figures = {
        "max_abs_error": worst,
        "label_disagreements": int(disagreements.sum()),
        "texts": sum(len(batch.logits) for batch in batches),
        "runs": runs,
    }
    if not worst <= tolerance or figures["label_disagreements"]:
        raise Internal(
            f"the exported graph differs from the weights: error {worst:.3g} (at most "
            f"{tolerance:.3g}), another label for {figures['label_disagreements']} texts",
            reason="PARITY_FAILED",
            metadata={key: f"{value:.9g}" for key, value in figures.items()},
        )
    return figures


def _compare(reference: ClassifierReference, found: object, logits: Float64) -> tuple[float, int]:
    """The largest error of a batch, and for how many texts the best label differs for sure."""
    if (
        not isinstance(found, np.ndarray)
        or found.shape != logits.shape
        or found.dtype != np.float32
        or not np.isfinite(found).all()
    ):
        return float("inf"), len(logits)
    if not len(logits):
        return 0.0, 0
    expected = reference.probabilities(logits)
    error = float(np.abs(found - expected).max())
    best, chosen = expected.max(axis=1), found.argmax(axis=1)
    behind = best - np.take_along_axis(expected, chosen[:, None], axis=1)[:, 0]
    slack = 1e-6 + _PER_SCORE * np.abs(logits).max(axis=1)
    return error, int(np.count_nonzero(behind > slack))


def _batches(
    reference: ClassifierReference, texts: Sequence[str], rng: np.random.Generator
) -> list[_Batch]:
    if reference.files.encoder is EncoderKind.TEACHER:
        return _of_vectors(reference, rng)
    chosen = [*FIXED_TEXTS, *texts[:_MOST_TEXTS]]
    parts = [chosen[i : i + _TEXTS_A_RUN] for i in range(0, len(chosen), _TEXTS_A_RUN)]
    if reference.files.encoder is EncoderKind.TRANSFORMER:
        return _of_transformer(reference, parts)
    student = reference.student
    assert student is not None
    tokenizer = load_tokenizer(student.tokenizer_json)
    limit = min(reference.files.description.max_tokens, LONGEST)
    rows = [encode(tokenizer, part, limit) for part in parts]
    words = [token for part in rows for tokens in part for token in tokens] or [0]
    for i, (count, longest) in enumerate((*_SHAPES, *_LONG_SHAPES)):
        # Some of random tokens, some of runs that texts have.
        rows.append([_tokens(longest, i % 2, words, student.vocabulary_size, rng)])
        rows[-1] += [
            _tokens(int(rng.integers(0, longest + 1)), j % 2, words, student.vocabulary_size, rng)
            for j in range(1, count)
        ]
    raw = replace(student, normalize=False)
    return [
        _Batch(
            _padded(part, student.vocabulary_size, rng),
            reference.logits(reference.vectors(raw.vectors(part)), part),
        )
        for part in rows
    ]


def _tokens(
    length: int, real: int, words: Sequence[int], vocabulary: int, rng: np.random.Generator
) -> list[int]:
    if not real:
        return [int(token) for token in rng.integers(0, vocabulary, length)]
    start = int(rng.integers(0, len(words)))
    return [words[(start + i) % len(words)] for i in range(length)]


def _padded(
    rows: Sequence[Sequence[int]], vocabulary: int, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Padded on the right with strangers' ids, which the mask must hide; one column at least."""
    width = max(1, *map(len, rows))
    ids = rng.integers(0, vocabulary, (len(rows), width))
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _of_vectors(reference: ClassifierReference, rng: np.random.Generator) -> list[_Batch]:
    """The head alone: random unit vectors, and zeros."""
    batches = []
    for count in (1, 7, 64, 256):
        vectors = rng.standard_normal((count, reference.files.description.dimensions))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[count // 2 :: 17] = 0.0
        given = vectors.astype(np.float32)
        logits = reference.logits(given.astype(np.float64))
        batches.append(_Batch({"sentence_embedding": given}, logits))
    return batches


def _of_transformer(reference: ClassifierReference, parts: Sequence[Sequence[str]]) -> list[_Batch]:
    """Against the vectors of the student's own graph, which was proven when it was registered."""
    import onnxruntime

    folder = reference.files.folder
    files = TransformerFiles.load(folder)
    tokenizer = load_tokenizer(files.tokenizer_json)
    session = onnxruntime.InferenceSession(
        str(folder / STUDENT_FILE), providers=["CPUExecutionProvider"]
    )
    tokenizer.enable_truncation(min(files.max_tokens, 128))
    batches = []
    for part in parts:
        rows = [encoding.ids for encoding in tokenizer.encode_batch(list(part))]
        feeds = _padded(rows, 1, np.random.default_rng(0))
        feeds["input_ids"] = np.where(feeds["attention_mask"] > 0, feeds["input_ids"], files.pad_id)
        (vectors,) = session.run(["sentence_embedding"], feeds)
        logits = reference.logits(reference.vectors(vectors.astype(np.float64)))
        batches.append(_Batch(feeds, logits))
    return batches


def _runtime_errors() -> tuple[type[Exception], ...]:
    """onnxruntime's own errors; most derive from RuntimeError or ValueError, not all."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    named = [value for value in vars(state).values() if isinstance(value, type)]
    own = [value for value in named if issubclass(value, Exception)]
    return (RuntimeError, ValueError, *own)
