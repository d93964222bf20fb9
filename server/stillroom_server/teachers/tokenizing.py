"""Texts to the ids that a teacher reads, special tokens included.

The tokenizer object never cuts: its limit is state that all requests would share. Rows are cut here
to the limit of their own request, between the special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from stillroom_registry.errors import DataLoss
from stillroom_server.inference.text_errors import encoding_error, refuse_too_long
from stillroom_server.inference.tokenizers.huggingface import TokenizedText

Ids = npt.NDArray[np.int32]


class Rows(NamedTuple):
    """n tokenized texts: ids int32 (total,), offsets int64 (n + 1,), truncated and empty bool (n,),
    skips int64 (n,): the tokens at the front that belong to a prompt and are not pooled."""

    ids: Ids
    offsets: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    empty: npt.NDArray[np.bool_]
    skips: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        lengths: npt.NDArray[np.int64] = self.offsets[1:] - self.offsets[:-1]
        return lengths

    def row(self, index: int) -> Ids:
        """The ids of one text, a view."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


class TextTokenizer:
    """A teacher's tokenizer, safe under any threads: it is not changed after construction."""

    def __init__(self, source: str, *, include_prompt: bool = True) -> None:
        """``source`` is a tokenizer.json; raises DataLoss if it does not load. Without
        ``include_prompt`` the tokens of a prompt are to be skipped."""
        try:
            self._tokenizer = Tokenizer.from_str(source)
        except Exception as error:  # the library raises bare Exception
            raise DataLoss(
                f"tokenizer.json is damaged: {error}", reason="FILE_CORRUPT", field="model"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._include_prompt = include_prompt
        self._before, self._after = self._surroundings()
        self.special_tokens = len(self._before) + len(self._after)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        max_tokens: int,
        truncate: bool = True,
        left: bool = False,
    ) -> Rows:
        """The rows of ``prompt`` + each text, cut to ``max_tokens``, more than ``special_tokens``.

        Raises InvalidArgument on ``texts[i]``: TEXT_TOO_LONG when ``truncate`` is off, else
        INVALID_UTF8.
        """
        joined = [prompt + text for text in texts] if prompt else list(texts)
        try:
            encodings = self._tokenizer.encode_batch_fast(joined)
            plain = self._plain_length(prompt)
        except BaseException as failure:  # a panic of compiled code is no Exception
            raise encoding_error(texts, failure) from failure
        rows: list[Sequence[int]] = [encoding.ids for encoding in encodings]
        whole = np.fromiter(map(len, rows), np.int64, len(rows))
        if not truncate:
            refuse_too_long(_offsets(whole), max_tokens)
        for index in np.flatnonzero(whole > max_tokens):
            rows[index] = self._cut(rows[index], max_tokens, left)
        lengths = np.minimum(whole, max_tokens)
        offsets = _offsets(lengths)
        return Rows(
            np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1])),
            offsets,
            whole > max_tokens,
            (whole <= self.special_tokens)
            | np.fromiter((not t or t.isspace() for t in texts), np.bool_, len(texts)),
            self._skips(whole, lengths, plain, left),
        )

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> list[TokenizedText]:
        """How texts split, special tokens included; at most ``max_tokens`` of each (None: all)."""
        try:
            encodings = self._tokenizer.encode_batch(list(texts))
        except BaseException as failure:  # a panic of compiled code is no Exception
            raise encoding_error(texts, failure) from failure
        results = []
        for encoding in encodings:
            spans = encoding.offsets[:max_tokens]
            starts, ends = [start for start, _ in spans], [end for _, end in spans]
            ids, tokens = encoding.ids[:max_tokens], encoding.tokens[:max_tokens]
            results.append(TokenizedText(ids, tokens, starts, ends))
        return results

    def _surroundings(self) -> tuple[list[int], list[int]]:
        encoding = self._tokenizer.encode("a")
        special = list(encoding.special_tokens_mask)
        if 0 not in special:
            return list(encoding.ids), []
        first, last = special.index(0), len(special) - special[::-1].index(0)
        return list(encoding.ids[:first]), list(encoding.ids[last:])

    def _plain_length(self, prompt: str) -> int:
        if not prompt or self._include_prompt:
            return 0
        return len(self._tokenizer.encode(prompt, add_special_tokens=False).ids)

    def _cut(self, row: Sequence[int], max_tokens: int, left: bool) -> Sequence[int]:
        if left:
            return [*self._before, *row[len(row) - max_tokens + len(self._before) :]]
        return [*row[: max_tokens - len(self._after)], *self._after]

    def _skips(
        self,
        whole: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        plain: int,
        left: bool,
    ) -> npt.NDArray[np.int64]:
        if not plain:
            return np.zeros(len(whole), np.int64)
        kept = np.maximum(plain - (whole - lengths), 0) if left else plain
        # Something must be left to pool.
        skips: npt.NDArray[np.int64] = np.minimum(len(self._before) + kept, lengths - 1)
        return np.maximum(skips, 0)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
