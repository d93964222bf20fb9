"""Texts after their encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stillroom_server.inference.engines.base import Float32, Ids, Offsets


@dataclass(frozen=True)
class Encoded:
    """n texts. vectors float32 (n, d), as Embed gives them. ids int32 (total,) and offsets int64
    (n + 1,): the tokens of each after the cut, of static students alone. known bool (n,): whether
    the encoder knows any token of it; truncated bool (n,); tokens int32 (n,), how many counted."""

    vectors: Float32
    known: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    tokens: NDArray[np.int32]
    ids: Ids | None = None
    offsets: Offsets | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, indices: NDArray[np.int64]) -> Encoded:
        """Those texts, in that order."""
        ids = offsets = None
        if self.ids is not None and self.offsets is not None:
            ids, offsets = take_tokens(self.ids, self.offsets, indices)
        return Encoded(
            self.vectors[indices],
            self.known[indices],
            self.truncated[indices],
            self.tokens[indices],
            ids,
            offsets,
        )


class StudentTable(Protocol):
    """What of a static student can be trained."""

    @property
    def rows(self) -> Float32:
        """float32 (vocab, d): what each token adds, weighted; of the unknown one, zeros."""
        ...

    @property
    def element_type(self) -> str:
        """As which the student stores its table: float32, float16 or int8."""
        ...

    @property
    def normalize(self) -> bool: ...

    @property
    def unknown(self) -> int | None:
        """The token that is not counted, if there is one."""
        ...


class Encoder(Protocol):
    """Made by ``load_encoder``; for one thread at a time."""

    @property
    def kind(self) -> str:
        """static, transformer or teacher."""
        ...

    @property
    def dimensions(self) -> int:
        """Elements of a vector, after a cut that was asked for."""
        ...

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text that count."""
        ...

    @property
    def texts_at_once(self) -> int:
        """How many texts make a portion: a fraction of a second for a small encoder."""
        ...

    @property
    def table(self) -> StudentTable | None:
        """Of static students alone."""
        ...

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> Encoded:
        """A portion. ``check`` is called now and then and may raise to stop. Raises
        InvalidArgument on ``texts[i]`` for one that is too long where nothing may be cut."""
        ...


def take_tokens(ids: Ids, offsets: Offsets, indices: NDArray[np.int64]) -> tuple[Ids, Offsets]:
    """The flat tokens of the texts ``indices``, in that order, and their offsets."""
    lengths = offsets[1:] - offsets[:-1]
    kept = lengths[indices]
    ends = offsets_of(kept)
    places = np.arange(ends[-1]) + np.repeat(offsets[:-1][indices] - ends[:-1], kept)
    return ids[places], ends


def offsets_of(lengths: NDArray[Any]) -> Offsets:
    """int64 (n + 1,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def joined(parts: Sequence[Encoded], dimensions: int) -> Encoded:
    """Portions as one."""
    if not parts:
        return Encoded(
            np.zeros((0, dimensions), np.float32),
            np.zeros(0, np.bool_),
            np.zeros(0, np.bool_),
            np.zeros(0, np.int32),
        )
    if len(parts) == 1:
        return parts[0]
    ids = offsets = None
    flat = [part.ids for part in parts if part.ids is not None]
    ends = [part.offsets for part in parts if part.offsets is not None]
    if flat:
        ids = np.concatenate(flat)
        offsets = offsets_of(np.concatenate([part[1:] - part[:-1] for part in ends]))
    return Encoded(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.known for part in parts]),
        np.concatenate([part.truncated for part in parts]),
        np.concatenate([part.tokens for part in parts]),
        ids,
        offsets,
    )
