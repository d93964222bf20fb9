"""What embedding a list of texts gives."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Warnings = npt.NDArray[np.uint8]
_NO_WARNING: Warnings = np.zeros(1, np.uint8)  # shared by most answers about one text
_NO_WARNING.setflags(write=False)


class TextWarning(IntEnum):
    """Something about one text that is no error; its vector is zeros."""

    NONE = 0
    EMPTY = 1  # no token at all
    ALL_UNKNOWN = 2  # tokens, but none that the student has a row for


class Timings(NamedTuple):
    """Seconds a phase."""

    tokenize: float
    infer: float
    queue: float = 0.0


class EmbedResult(NamedTuple):
    """n texts, in the order they came.

    vectors float32 (n, d), contiguous and the caller's own; the rest only to read: tokens int32
    (n,), how many of each text counted after the cut, unknown ones included; truncated bool (n,);
    warnings uint8 (n,) of ``TextWarning``.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]
    warnings: Warnings
    timings: Timings

    def warned(self) -> list[tuple[int, TextWarning]]:
        """(index, warning) of the texts that have one."""
        return [(int(i), TextWarning(self.warnings[i])) for i in np.flatnonzero(self.warnings)]


def warnings_of(lengths: npt.NDArray[np.int64], known: npt.NDArray[np.int64] | None) -> Warnings:
    """Return the warnings of texts of so many tokens, ``known`` of them known (None: some are)."""
    if known is None:
        return _NO_WARNING if len(lengths) == 1 else np.zeros(len(lengths), np.uint8)
    warnings = np.zeros(len(known), np.uint8)
    warnings[known == 0] = TextWarning.ALL_UNKNOWN
    warnings[lengths == 0] = TextWarning.EMPTY
    return warnings


def with_empty_texts(warnings: Warnings, texts: Sequence[str]) -> Warnings:
    """Add EMPTY for texts that had tokens only because a prompt was put before them."""
    empty = np.fromiter((not text or text.isspace() for text in texts), np.bool_, len(texts))
    return np.where(empty, np.uint8(TextWarning.EMPTY), warnings)
