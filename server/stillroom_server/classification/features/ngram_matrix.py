"""N-gram features of training texts, as the sparse matrix that a head is fitted on."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from stillroom_server.classification.features.encoded import Encoded
from stillroom_server.inference.classifier.head import (
    NgramArrays,
    Ngrams,
    choose_runs,
    count_runs,
)

Sparse: TypeAlias = Any  # scipy.sparse.csr_matrix of float32, which scipy's stubs cannot name


def choose_features(
    encoded: Encoded, min_n: int, max_n: int, max_features: int, min_count: int
) -> NgramArrays:
    """The runs of training texts that are features; their rows are still of no columns."""
    assert encoded.ids is not None
    assert encoded.offsets is not None
    runs = count_runs(encoded.ids, encoded.offsets, min_n, max_n)
    return choose_runs(runs, max_features=max_features, min_count=min_count)


def ngram_matrix(arrays: NgramArrays, encoded: Encoded) -> Sparse:
    """(n, features + 1) float32: how often each feature's runs occur in a text, divided by the
    square root of the text's counted runs. Column 0 is of no run."""
    from scipy import sparse

    assert encoded.ids is not None
    assert encoded.offsets is not None
    rows, offsets = Ngrams(arrays).counted(encoded.ids, encoded.offsets)
    counts = offsets[1:] - offsets[:-1]
    scale = 1.0 / np.sqrt(np.maximum(counts, 1))
    data = np.repeat(scale, counts).astype(np.float32)
    width = arrays.features + 1
    matrix = sparse.csr_matrix((data, rows, offsets), shape=(len(counts), width))
    matrix.sum_duplicates()
    return matrix
