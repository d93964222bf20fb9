"""Texts with labels: how well a linear classifier on frozen vectors tells them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.fidelity.evaluations.tables import (
    MOST_ROWS,
    Refusal,
    column,
    rows,
)

MOST_LABELS = 1000
_MOST_CELLS = 20_000_000  # rows x labels: the classifier's probabilities, four bytes each
_TEST_SHARE = 0.2
_TEXT = ("text", "sentence", "utterance")
_LABEL = ("label", "category", "intent", "class")


@dataclass(frozen=True)
class LabeledData:
    """n texts, their ``labels`` int64 (n,) as indices into ``names``, and the row numbers of
    ``training`` and ``test``. A test label that training lacks is -1: no answer to it is right."""

    texts: list[str]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    training: NDArray[np.int64]
    test: NDArray[np.int64]


def read_labels(path: Path, refuse: Refusal, seed: int, test: Path | None = None) -> LabeledData:
    """Reads rows under a header that names the columns text and label (or category). Without a
    ``test`` file a fifth of each label's rows, at least one, is the test. Raises InvalidArgument
    with the line."""
    texts, labels = _read(path, refuse)
    counts = Counter(labels)
    names = tuple(sorted(counts))
    if len(names) < 2:
        refuse("all rows have the same label; a classifier needs two")
    if len(names) > MOST_LABELS:
        refuse(f"{len(names):,} labels; at most {MOST_LABELS:,} are taken")
    index = {name: i for i, name in enumerate(names)}
    known = np.array([index[label] for label in labels], dtype=np.int64)
    if test is None:
        rare = [name for name in names if counts[name] < 2]
        if rare:
            refuse(f"the label {rare[0][:40]!r} occurs once; training and test need one row each")
        training, held = split(known, seed)
    else:
        more, more_labels = _read(test, Refusal(test.name, refuse.field))
        training, held = np.arange(len(texts)), len(texts) + np.arange(len(more))
        texts += more
        added = np.array([index.get(label, -1) for label in more_labels], dtype=np.int64)
        known = np.concatenate([known, added])
    if len(training) * len(names) > _MOST_CELLS:
        refuse(
            f"{len(training):,} rows of {len(names):,} labels; rows times labels may be "
            f"{_MOST_CELLS:,}; give a sample of the rows"
        )
    return LabeledData(texts, known, names, training, held)


def split(
    labels: NDArray[np.int64], seed: int, share: float = _TEST_SHARE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers (ascending) of training and test: of each label ``share`` is the test, at least
    one row and at most all but one."""
    rng = np.random.default_rng(seed)
    test = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        test[own[: min(max(1, round(share * len(own))), len(own) - 1)]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def _read(path: Path, refuse: Refusal) -> tuple[list[str], list[str]]:
    texts: list[str] = []
    labels: list[str] = []
    at: tuple[int, int] | None = None
    width = 0
    for line, cells in rows(path, refuse):
        if at is None:
            text_at, label_at = column(cells, _TEXT), column(cells, _LABEL)
            if text_at is None or label_at is None:
                refuse("the first line must name the columns, among them text and label", line)
            at, width = (text_at, label_at), len(cells)
            continue
        if len(cells) != width:
            refuse(f"{len(cells)} columns instead of the header's {width}", line)
        text, label = cells[at[0]], cells[at[1]].strip()
        if not text.strip() or not label:
            refuse(f"the {'label' if text.strip() else 'text'} is blank", line)
        texts.append(text)
        labels.append(label)
    if not texts:
        refuse("no rows")
    if len(texts) > MOST_ROWS:
        refuse(f"more than {MOST_ROWS:,} rows; give a sample of them")
    return texts, labels
