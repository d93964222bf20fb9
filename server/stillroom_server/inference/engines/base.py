"""What a student engine is: flat token ids in, one pooled vector a text out."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


class Scale(StrEnum):
    """How long an engine's vectors are. Directions agree between all of them."""

    SUM = "sum"  # over the known tokens
    MEAN = "mean"  # the sum divided by the number of known tokens
    UNIT = "unit"  # divided by its Euclidean norm


class StudentEngine(Protocol):
    """Pools the rows of token ids. Safe under any threads; gives up the interpreter lock."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def scale(self) -> Scale: ...

    @property
    def nbytes(self) -> int:
        """About how much memory it holds, in bytes."""
        ...

    def pool(self, ids: Ids, offsets: Offsets) -> Float32:
        """Return a new contiguous float32 (n, d) for ids (total,) and offsets (n + 1,).

        Texts without a known token get zeros. Ids must lie within the vocabulary.
        """
        ...

    def pool_one(self, ids: Ids) -> Float32:
        """Return ``pool`` of a single text, to the bit: a new contiguous float32 (d,)."""
        ...
