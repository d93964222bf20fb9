"""A corpus as bags of rows: which rows of the table a text adds up, and how often.

Made once, a file a shard, so that an interrupted preparation goes on where it was; read back a
shard at a time, so a corpus may be larger than memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stillroom_server.distillation.corpus.shards import write_whole
from stillroom_server.distillation.tuning.growth import GrownVocabulary
from stillroom_server.distillation.tuning.protocols import Shard
from stillroom_server.distillation.tuning.threads import Sparse

MOST_TOKENS = 1024  # of a text; teachers read no more of it
_AT_ONCE = 64  # texts between two looks at whether to go on


class Bags:
    """The shards' bags in ``folder``; ``rows`` are those of the table."""

    def __init__(self, folder: Path, name: str, shards: Sequence[Shard], rows: int) -> None:
        self._folder = folder
        self._name = name
        self.rows = rows
        self.shards = tuple(shards)
        self.counts = tuple(shard.count for shard in shards)

    def __len__(self) -> int:
        return len(self.counts)

    def path(self, index: int) -> Path:
        return self._folder / f"{self._name}-{index:06d}.npz"

    def shard(self, index: int) -> Sparse:
        """(texts of the shard, rows) float32: how often each row is added."""
        from scipy import sparse

        with np.load(self.path(index)) as stored:
            parts = (stored["data"], stored["indices"], stored["indptr"])
        return sparse.csr_matrix(parts, shape=(self.counts[index], self.rows))

    def usage(self, tell: Callable[[], None]) -> NDArray[np.float64]:
        """How often each row is added in all, (rows,)."""
        used = np.zeros(self.rows)
        for index in range(len(self)):
            tell()
            matrix = self.shard(index)
            used += np.bincount(matrix.indices, weights=matrix.data, minlength=self.rows)
        return used


def expansion(vocabulary: GrownVocabulary) -> Sparse:
    """(ids, rows): what a token adds up. A base token its own row; a grown one the rows of its
    parts and, as its difference to them, its own."""
    from scipy import sparse

    columns = [np.arange(vocabulary.base_rows)]
    lengths = [np.ones(vocabulary.base_rows, dtype=np.int64)]
    for index, parts in enumerate(vocabulary.parts):
        columns.append(np.append(parts, vocabulary.base_rows + index))
        lengths.append(np.array([len(parts) + 1]))
    indices = np.concatenate(columns)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    size = len(vocabulary)
    return sparse.csr_matrix(
        (np.ones(len(indices), dtype=np.float32), indices, indptr), shape=(size, size)
    )


def write_bags(
    bags: Bags,
    tokenizer: Tokenizer,
    silent: Sequence[int],
    expand: Sparse,
    limit: int | None,
    tell: Callable[[int], None],
) -> None:
    """Makes the files that are not there. A text counts its first ``limit`` tokens (None: many),
    without the ``silent`` ones. ``tell`` gets the shards done, several times a second."""
    most = min(limit or MOST_TOKENS, MOST_TOKENS)
    for index, shard in enumerate(bags.shards):
        tell(index)
        path = bags.path(index)
        if path.exists():
            continue
        matrix = _counted(shard.texts(), tokenizer, silent, expand, most, partial(tell, index))
        stored = io.BytesIO()
        np.savez(
            stored,
            data=matrix.data.astype(np.float32),
            indices=matrix.indices.astype(np.int32),
            indptr=matrix.indptr.astype(np.int32),
        )
        write_whole(path, stored.getvalue())
    tell(len(bags))


def _counted(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    silent: Sequence[int],
    expand: Sparse,
    most: int,
    tell: Callable[[], None],
) -> Sparse:
    from scipy import sparse

    ids: list[NDArray[np.int64]] = []
    for start in range(0, len(texts), _AT_ONCE):
        tell()
        encodings = tokenizer.encode_batch_fast(
            list(texts[start : start + _AT_ONCE]), add_special_tokens=False
        )
        ids += [np.array(encoding.ids[:most], dtype=np.int64) for encoding in encodings]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
    indices = np.concatenate([np.empty(0, dtype=np.int64), *ids])
    data = np.where(np.isin(indices, list(silent)), 0.0, 1.0).astype(np.float32)
    tokens = sparse.csr_matrix((data, indices, indptr), shape=(len(texts), expand.shape[0]))
    matrix = (tokens @ expand).tocsr()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
