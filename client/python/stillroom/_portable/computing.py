"""What a classifier computes on token ids, in plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom._portable.reading import Float32, read_json, read_tensors, read_tokenizer
from stillroom.errors import InvalidArgument

_LEFT = "TRUNCATION_DIRECTION_LEFT"
_MODULUS = 2**31 - 1
_MULTIPLIERS = np.array((742_938_285, 950_706_376), np.int64)[:, None]
_TOKENS_AT_ONCE = 1 << 14


class StaticEncoder:
    """A table of rows: the mean of those of a text's known tokens."""

    def __init__(self, folder: Path, encoding: Mapping[str, Any], max_tokens: int) -> None:
        tensors = read_tensors(folder / "model.safetensors")
        config = read_json(folder / "config.json")
        self.normalize = encoding.get("normalize") is not False
        self._tokenizer, unknown = read_tokenizer(folder / "tokenizer.json")
        self._unknown = None if config.get("count_unknown") else unknown
        self._max_tokens = max_tokens
        self._left = encoding.get("truncation_direction") == _LEFT
        self._truncate = encoding.get("truncate") is not False
        self._prompt = str(encoding.get("prompt") or "")
        if encoding.get("prompt_name"):
            self._prompt = (config.get("prompts") or {})[encoding["prompt_name"]]
        table = tensors["embeddings"]
        self._table = table.astype(np.float32)
        self._weights = tensors["weights"].astype(np.float32) if "weights" in tensors else None
        self._mapping = tensors.get("mapping")

    def tokens(self, texts: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Flat ids, cut to the most tokens, and the offsets (n + 1,) of the texts in them."""
        prompted = [self._prompt + text for text in texts]
        encoded = self._tokenizer.encode_batch_fast(prompted, add_special_tokens=False)
        most = self._max_tokens
        rows = [encoding.ids for encoding in encoded]
        for i, row in enumerate(rows):
            if len(row) > most:
                if not self._truncate:
                    raise InvalidArgument(
                        f"texts[{i}] has {len(row)} tokens, the limit is {most}",
                        reason="TEXT_TOO_LONG",
                        field=f"texts[{i}]",
                    )
                rows[i] = row[len(row) - most :] if self._left else row[:most]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        flat = [token for row in rows for token in row]
        return np.array(flat, np.int64), offsets

    def vectors(self, ids: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> Float32:
        """The means (n, D), not normalized; zeros where no token is known."""
        known = np.ones(len(ids), np.bool_) if self._unknown is None else ids != self._unknown
        factors = known.astype(np.float32)
        if self._weights is not None:
            factors *= self._weights[ids]
        rows = ids if self._mapping is None else self._mapping[ids]
        out = sum_rows(self._table, rows, offsets, factors)
        before = np.concatenate(([0], np.cumsum(known)))[offsets]
        out /= np.maximum(before[1:] - before[:-1], 1).astype(np.float32)[:, None]
        return out


class Ngrams:
    """Runs of tokens, found by their hashes as in training."""

    def __init__(self, min_n: int, max_n: int, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self._min, self._max = min_n, max_n
        self._slots = tensors["ngrams.slots"]
        self._prints = tensors["ngrams.prints"]
        self._rows = tensors["ngrams.rows"]

    def sums(self, ids: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> Float32:
        """(n, K): the rows of the runs that are features, over the root of their number."""
        total, width = len(ids), self._max - self._min + 1
        found = np.zeros((total, width), np.int64)
        left = np.repeat(offsets[1:], offsets[1:] - offsets[:-1]) - np.arange(total)
        values = ids + 1
        hashes = np.stack((values, values))
        for n in range(1, min(self._max, total) + 1):
            if n > 1:
                hashes = (hashes[:, :-1] * _MULTIPLIERS + values[n - 1 :]) % _MODULUS
            if n >= self._min:
                slots = hashes[0] & (len(self._slots) - 1)
                counts = (self._prints[slots] == hashes[1]) & (left[: total - n + 1] >= n)
                found[: total - n + 1, n - self._min] = np.where(counts, self._slots[slots], 0)
        places = np.flatnonzero(found)
        ends = np.searchsorted(places, offsets * width)
        factors = np.ones(len(places), np.float32)
        out = sum_rows(self._rows, found.reshape(-1)[places], ends, factors)
        out /= np.sqrt(np.maximum(ends[1:] - ends[:-1], 1).astype(np.float32))[:, None]
        return out


def sum_rows(
    table: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    factors: Float32,
) -> Float32:
    """Factor times row, summed text by text, in blocks that bound what is held at once."""
    out = np.zeros((len(offsets) - 1, table.shape[1]), np.float32)
    owner = np.repeat(np.arange(len(out)), offsets[1:] - offsets[:-1])
    for start in range(0, len(rows), _TOKENS_AT_ONCE):
        part = slice(start, start + _TOKENS_AT_ONCE)
        texts, first = np.unique(owner[part], return_index=True)
        scaled = table[rows[part]] * factors[part, None]
        out[texts] += np.add.reduceat(scaled, first, axis=0)
    return out


def normalized(vectors: Float32) -> Float32:
    """Rows divided by their norm; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    out = np.zeros_like(vectors)
    np.divide(vectors, norms, out=out, where=norms > 0)
    return out
