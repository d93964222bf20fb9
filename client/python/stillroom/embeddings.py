"""Vectors and what is known of their texts, as the client hands them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from stillroom._protocol import enums, vectors
from stillroom.errors import StillroomError
from stillroom.internal.v1.embedding_wire_pb2 import WireEmbeddings
from stillroom.v1 import embedding_service_pb2 as pb


class EmbedOptions(TypedDict, total=False):
    """How to embed. What is left out is the server's default.

    truncate              cut texts that are too long (default True); else they are InvalidArgument
    truncation_direction  "right" (default) keeps the beginning, "left" the end
    max_tokens            the most tokens of a text that count (default: the model's limit)
    normalize             unit length (default True)
    dimensions            keep the first so many, then normalize (default: all)
    prompt                text put before every input
    prompt_name           the name of one of the model's prompts
    element_type          "float32" (default), "float16", "int8" or "binary"
    """

    truncate: bool | None
    truncation_direction: str | None
    max_tokens: int | None
    normalize: bool | None
    dimensions: int | None
    prompt: str | None
    prompt_name: str | None
    element_type: str | None


@dataclass(frozen=True)
class TextWarning:
    """A remark on the text in row ``row`` of its batch: ``kind`` is "empty" or "all_unknown"."""

    row: int
    kind: str


class EmbedBatch:
    """Vectors of the texts ``start`` to ``stop`` (exclusive) of the input, or why there are none.

    ``error`` is None, or the error of this item; then every attribute but the indexes raises it.
    """

    __slots__ = ("_wire", "error", "start", "stop")

    def __init__(
        self,
        start: int,
        stop: int,
        wire: WireEmbeddings | None = None,
        error: StillroomError | None = None,
    ) -> None:
        self.start = start
        self.stop = stop
        self.error = error
        self._wire = wire

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        what = self.error if self._wire is None else self._wire.model_version
        return f"<EmbedBatch {self.start}:{self.stop} {what!r}>"

    @property
    def _embeddings(self) -> WireEmbeddings:
        if self._wire is None:
            raise self.error or AssertionError("a batch has vectors or an error")
        return self._wire

    @property
    def vectors(self) -> NDArray[Any]:
        """(n, d) in the element type asked for, read-only; binary: (n, ceil(d / 8)) uint8, sign
        bits packed most significant first. int8: multiply by ``scales`` (or see ``as_float32``)."""
        return vectors.elements(self._embeddings.vectors)

    @property
    def scales(self) -> NDArray[np.float32] | None:
        """(n,) float32 with int8, else None."""
        return vectors.scales(self._embeddings.vectors)

    def as_float32(self) -> NDArray[np.float32]:
        """The vectors as float32 numbers (n, d); binary ones become -1 and 1."""
        return vectors.as_float32(self._embeddings.vectors)

    @property
    def dimensions(self) -> int:
        """Elements of a vector."""
        return self._embeddings.vectors.dimensions

    @property
    def model_version(self) -> str:
        """The version that answered, ``models/{model}/versions/{n}``."""
        return self._embeddings.model_version

    @property
    def token_counts(self) -> NDArray[np.int32]:
        """(n,) int32: the tokens of each text that went into its vector."""
        return np.fromiter(self._embeddings.token_counts, np.int32, len(self))

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """(n,) bool: which texts were cut."""
        flags = self._embeddings.truncated
        return np.fromiter(flags, np.bool_, len(self)) if flags else np.zeros(len(self), np.bool_)

    @property
    def warnings(self) -> tuple[TextWarning, ...]:
        """What a caller should know of single texts."""
        return tuple(
            TextWarning(w.index, enums.word(pb.TextWarningKind, w.kind))
            for w in self._embeddings.warnings
        )

    @property
    def timings(self) -> dict[str, float]:
        """Seconds on the server by phase: total, queue, tokenize, infer."""
        timings = self._embeddings.timings
        return {
            "total": timings.total_nanos / 1e9,
            "queue": timings.queue_nanos / 1e9,
            "tokenize": timings.tokenize_nanos / 1e9,
            "infer": timings.infer_nanos / 1e9,
        }
