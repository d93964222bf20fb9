"""Small classifiers for tests, with random heads, and the arithmetic of one text in plain words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from inference.students import naive_vector, write_student
from stillroom_server.classification.export.folder import write_classifier
from stillroom_server.inference.classifier.head import (
    HeadArrays,
    NgramArrays,
    choose_runs,
    count_runs,
)

SINGLE = "CLASSIFICATION_TASK_SINGLE_LABEL"
MULTI = "CLASSIFICATION_TASK_MULTI_LABEL"
LABELS = ("arrival", "card", "fees & <rates>", "pin", "top up")
TEXTS = [
    "my card has not arrived yet",
    "please help me change my pin code",
    "i was charged the fee twice",
    "not the new card and the card not new",
    "transfer failed, top up failed; the exchange rate was 12!",
    "zzz qqq",
    "a",
    "",
    "漢漢漢",  # one known token, three times
    "card " * 700,
]


def layers(
    dimensions: int = 24, labels: int = len(LABELS), hidden: Sequence[int] = (), seed: int = 0
) -> tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], ...]:
    rng = np.random.default_rng(seed)
    widths = [dimensions, *hidden, labels]
    return tuple(
        (
            rng.standard_normal((a, b)).astype(np.float32),
            rng.standard_normal(b).astype(np.float32),
        )
        for a, b in itertools.pairwise(widths)
    )


def flat(rows: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return np.array([t for row in rows for t in row], np.int32), offsets


def ngrams_of(
    folder: Path,
    labels: int = len(LABELS),
    *,
    min_n: int = 1,
    max_n: int = 3,
    max_features: int = 1000,
    seed: int = 1,
) -> NgramArrays:
    """Features of the runs of TEXTS, with random rows."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    runs = count_runs(*flat(rows), min_n, max_n)
    chosen = choose_runs(runs, max_features=max_features)
    table = np.random.default_rng(seed).standard_normal((chosen.features + 1, labels))
    table[0] = 0
    return NgramArrays(min_n, max_n, chosen.slots, chosen.prints, table.astype(np.float32))


def describe(
    *, task: str = SINGLE, dimensions: int = 24, labels: Sequence[str] = LABELS, **changes: Any
) -> dict[str, Any]:
    return {
        "task": task,
        "labels": list(labels),
        "encoder_version": "models/mini/versions/1",
        "dimensions": dimensions,
        "max_tokens": 512,
        "temperature": 1.5,
        "thresholds": [0.3, 0.5, 0.4, 0.6, 0.5] if task == MULTI else [],
        "abstention_threshold": 0.4,
        "options": {"encoding": {"truncate": True, "max_tokens": 512, "normalize": True}},
        **changes,
    }


def write_tiny(
    folder: Path,
    *,
    task: str = SINGLE,
    ngrams: bool = True,
    hidden: Sequence[int] = (),
    student: Mapping[str, Any] | None = None,
    dimensions: int = 24,
    **changes: Any,
) -> Path:
    """A classifier on a static student beside it, ``student`` as ``write_student`` takes it."""
    encoder = write_student(folder.with_name(folder.name + "-encoder"), **(student or {}))
    head = HeadArrays(layers(dimensions, hidden=hidden), ngrams_of(encoder) if ngrams else None)
    description = describe(task=task, dimensions=dimensions, **changes)
    write_classifier(
        folder, encoder_folder=encoder, encoder_kind="static", head=head, description=description
    )
    return folder


def naive_hash(run: Sequence[int], multiplier: int) -> int:
    value = 0
    for token in run:
        value = (value * multiplier + token + 1) % (2**31 - 1)
    return value


def naive_bag(ngrams: NgramArrays, ids: Sequence[int]) -> npt.NDArray[np.float64]:
    """The definition: a run counts if its slot holds its print."""
    total, counted = np.zeros(ngrams.rows.shape[1]), 0
    for n in range(ngrams.min_n, ngrams.max_n + 1):
        for start in range(len(ids) - n + 1):
            run = ids[start : start + n]
            slot = naive_hash(run, 742_938_285) % len(ngrams.slots)
            same = ngrams.prints[slot] == naive_hash(run, 950_706_376)
            if same and ngrams.slots[slot]:
                total += ngrams.rows[ngrams.slots[slot]]
                counted += 1
    return total / np.sqrt(max(1, counted))


def naive_scores(folder: Path, head: HeadArrays, text: str, **how: Any) -> npt.NDArray[np.float64]:
    """Scores of one text before calibration, in float64."""
    vector = naive_vector(folder, text, **how)
    for i, (weights, bias) in enumerate(head.layers):
        vector = vector @ weights.astype(np.float64) + bias
        vector = np.maximum(vector, 0) if i < len(head.layers) - 1 else vector
    if head.ngrams is None:
        return vector
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    most = how.get("max_tokens", 512)
    ids = ids[-most:] if how.get("left") else ids[:most]
    return vector + naive_bag(head.ngrams, ids)


def softmax(scores: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    exponents = np.exp((scores - scores.max()) / temperature)
    return exponents / exponents.sum()


def sigmoid(scores: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-scores / temperature))
