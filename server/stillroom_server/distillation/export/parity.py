"""Proof that an exported graph computes what the student's weights say.

A graph that races passes a single run, and passes all of them on short batches, which onnxruntime
leaves to one thread: hence 200 runs under its default session options (every core), half of them
over few rows of thousands of tokens, where two threads meet in one row. Measured on two cores with
a ScatterND(add) graph: of 100 runs at (1, 512) none is wrong, at (1, 4096) 4 to 100 are. Every run
is held to the float64 computation of ``reference``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE
from stillroom_server.distillation.export.reference import StudentArrays, encode, load_tokenizer

# float32 sums of thousands of rows stay an order of magnitude inside both.
MAX_ERROR = 1e-5
MIN_COSINE = 0.999999
LONGEST = 512

FIXED_TEXTS = (
    "",
    " \t\n",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "how do I activate my new card?",
    "Crème brûlée, naïve façade, Ångström, ﬁne ligatures",
    "東京は日本の首都です。 서울은 한국의 수도입니다.",
    "Привет, как дела? مرحبا كيف حالك שלום",
    "😀🎉👩‍👩‍👧‍👦🇫🇷",
    "\u0000\u0007\u200b\ufeff\u202e",
    "[UNK] [PAD] [CLS] <unk> <s> </s> <|endoftext|>",
    "Donaudampfschifffahrtsgesellschaftskapitän" * 8,
    "x" * 300,
    "1234567890 3.14159 1e-12 $5,000.00 100%",
    "def f(x): return {'a': [1, 2, 3]}  # code",
    "https://example.com/path?query=1&other=two#fragment",
    "word " * LONGEST,
    "the cat sat on the mat and looked at the dog " * 50,
)
# (rows, most tokens in one) of the batches of random ids: single, long, wide.
_SHAPES = ((1, 1), (1, 17), (1, LONGEST), (2, LONGEST), (7, 3), (16, 64), (32, 33), (64, 96))
# Far longer than any text: the graph knows no limit, and these are the shapes in which races show.
_LONG_SHAPES = ((1, 4096), (2, 2048), (1, 8192), (4, 1024))


@dataclass(frozen=True)
class ParityReport:
    """``max_abs_error``: the largest difference of an element, in units of the reference vector's
    length (which is 1 where the student normalizes); ``min_cosine``: over vectors that are not
    zero; ``texts``: distinct rows compared; ``runs``: runs of the graph."""

    max_abs_error: float
    min_cosine: float
    texts: int
    runs: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


@dataclass(frozen=True)
class _Batch:
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    expected: NDArray[np.float64]


def check(
    folder: Path,
    *,
    seed: int,
    runs: int = 200,
    arrays: StudentArrays | None = None,
    on_run: Callable[[int], None] | None = None,
) -> ParityReport:
    """Compares onnx/model.onnx of ``folder`` with its model.safetensors.

    ``on_run`` is called with the number of runs done (progress, cancellation). Raises
    FailedPrecondition(reason="PARITY_FAILED"), with the figures as metadata, when the graph does
    not load, does not run or differs.
    """
    import onnxruntime

    student = arrays or StudentArrays.read(folder)
    rng = np.random.default_rng(seed)
    batches = _batches(student, rng)
    long = [_pad(student, _random_ids(student, n, length, rng), rng) for n, length in _LONG_SHAPES]
    worst_error, worst_cosine = 0.0, 1.0
    try:
        session = onnxruntime.InferenceSession(
            str(folder / ONNX_FILE), providers=["CPUExecutionProvider"]
        )
        for run in range(runs):
            turn = long if run % 2 else batches
            batch = turn[run // 2 % len(turn)]
            feeds = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            (found,) = session.run(["sentence_embedding"], feeds)
            error, cosine = _compare(found, batch.expected)
            worst_error, worst_cosine = max(worst_error, error), min(worst_cosine, cosine)
            if on_run is not None:
                on_run(run + 1)
    except _runtime_errors() as failure:
        raise FailedPrecondition(
            f"the exported graph does not run: {failure}", reason="PARITY_FAILED"
        ) from failure
    tried = [*batches[: (runs + 1) // 2], *long[: runs // 2]]
    report = ParityReport(worst_error, worst_cosine, sum(len(b.expected) for b in tried), runs)
    if not (worst_error <= MAX_ERROR and worst_cosine >= MIN_COSINE):
        raise FailedPrecondition(
            f"the exported graph differs from the weights: error {worst_error:.3g} (at most "
            f"{MAX_ERROR:g}), cosine {worst_cosine:.9f} (at least {MIN_COSINE}) in {runs} runs",
            reason="PARITY_FAILED",
            metadata={name: f"{value:.9g}" for name, value in report.as_dict().items()},
        )
    return report


def _compare(found: object, expected: NDArray[np.float64]) -> tuple[float, float]:
    """Largest error and smallest cosine of a batch; infinite and -1 for what is no such batch."""
    if not isinstance(found, np.ndarray) or found.shape != expected.shape:
        return float("inf"), -1.0
    if found.dtype != np.float32 or not np.isfinite(found).all():
        return float("inf"), -1.0
    if not found.size:
        return 0.0, 1.0
    lengths = np.linalg.norm(expected, axis=1)
    some = lengths > 0
    unit = np.where(some, lengths, 1.0)[:, None]
    error = float(np.abs((found - expected) / unit).max())
    if not some.any():
        return error, 1.0
    found_lengths = np.maximum(np.linalg.norm(found[some].astype(np.float64), axis=1), 1e-300)
    dots = np.einsum("nd,nd->n", found[some].astype(np.float64), expected[some])
    return error, float((dots / (found_lengths * lengths[some])).min())


def _batches(student: StudentArrays, rng: np.random.Generator) -> list[_Batch]:
    tokenizer = load_tokenizer(student.tokenizer_json)
    limit = min(student.max_tokens or LONGEST, LONGEST)
    words = sorted(tokenizer.get_vocab())
    batches = [_pad(student, encode(tokenizer, FIXED_TEXTS, limit), rng)]
    for count, longest in ((1, 8), (24, 32), (4, LONGEST)):
        texts = [_random_text(words, longest, rng) for _ in range(count)]
        batches.append(_pad(student, encode(tokenizer, texts, limit), rng))
    for count, longest in _SHAPES:
        batches.append(_pad(student, _random_ids(student, count, min(longest, limit), rng), rng))
    return batches


def _random_text(words: Sequence[str], longest: int, rng: np.random.Generator) -> str:
    """Words of the vocabulary, with some that are in no vocabulary between them."""
    count = int(rng.integers(1, longest + 1))
    picked = [words[i] for i in rng.integers(0, len(words), count)]
    for i in np.flatnonzero(rng.random(count) < 0.1):
        picked[i] = "".join(map(chr, rng.integers(0x3041, 0x3097, 4)))
    return " ".join(picked)


def _random_ids(
    student: StudentArrays, count: int, longest: int, rng: np.random.Generator
) -> list[list[int]]:
    """Rows of random ids; one is full, and of the rest some are empty, some hold only unknowns."""
    rows = []
    for row in range(count):
        length = longest if row == 0 else int(rng.integers(0, longest + 1))
        ids = rng.integers(0, student.vocabulary_size, length)
        if student.unk_id is not None:
            ids[rng.random(length) < (1.0 if row % 16 == 5 else 0.1)] = student.unk_id
        rows.append(ids.tolist())
    return rows


def _pad(student: StudentArrays, rows: Sequence[Sequence[int]], rng: np.random.Generator) -> _Batch:
    """Pads on the right with strangers' ids, which the mask must hide; one column at least."""
    width = max(1, *map(len, rows))
    ids = rng.integers(0, student.vocabulary_size, (len(rows), width))
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return _Batch(ids, mask, student.vectors(rows))


def _runtime_errors() -> tuple[type[Exception], ...]:
    """onnxruntime's own errors; most derive from RuntimeError or ValueError, not all."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    named = [value for value in vars(state).values() if isinstance(value, type)]
    own = [value for value in named if issubclass(value, Exception)]
    return (RuntimeError, ValueError, *own)
