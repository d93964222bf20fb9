"""Labels as numbers, in the order that a classifier has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.data.refusal import too_large

Targets: TypeAlias = NDArray[np.int64] | NDArray[np.bool_]
"""Single-label: int64 (n,), the index of each text's label, -1 where the classifier does not know
it. Multi-label: bool (n, K), whether each label applies."""

MOST_CELLS = 1 << 32
_DIGITS = re.compile(r"([0-9]+)")


def label_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once, by name, with numbers in them by their value: ``q2`` before ``q10``."""
    return tuple(sorted(set(labels), key=_natural))


def _natural(label: str) -> tuple[list[str | int], str]:
    # Texts and numbers take turns, so that only like is compared with like.
    parts = _DIGITS.split(label)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], label


def make_targets(
    given: Sequence[tuple[str, ...]], labels: Sequence[str], *, multi_label: bool, field: str
) -> Targets:
    """The labels of n texts as indices of ``labels``; those that are not among these are left out.
    Raises ResourceExhausted (DATA_TOO_LARGE)."""
    index = {label: at for at, label in enumerate(labels)}
    if not multi_label:
        return np.array([index.get(names[0], -1) for names in given], dtype=np.int64)
    if len(given) * len(labels) > MOST_CELLS:
        raise too_large(f"{MOST_CELLS:,} texts times labels", field)
    targets = np.zeros((len(given), len(labels)), dtype=np.bool_)
    pairs = [
        (row, index[name]) for row, names in enumerate(given) for name in names if name in index
    ]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    targets[rows, columns] = True
    return targets


def label_counts(targets: Targets, labels: int) -> NDArray[np.int64]:
    """int64 (K,): the texts that have each of ``labels`` labels."""
    if targets.ndim == 2:
        counts: NDArray[np.int64] = np.count_nonzero(targets, axis=0).astype(np.int64)
        return counts
    return np.bincount(targets[targets >= 0], minlength=labels).astype(np.int64)


def count_unknown(given: Iterable[tuple[str, ...]], labels: Iterable[str]) -> dict[str, int]:
    """The texts of each label that is not among ``labels``, in the order of ``label_order``."""
    known = frozenset(labels)
    counts = Counter(name for names in given for name in names if name not in known)
    return {name: counts[name] for name in label_order(counts)}
