"""Vectors and what is known of their texts, as the client hands them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from stillroom._protocol import enums, vectors
from stillroom._protocol.batches import Failed, each, seconds
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


def text_warnings(sent: Iterable[pb.TextWarning]) -> tuple[TextWarning, ...]:
    """Warnings as the client hands them out."""
    return tuple(TextWarning(w.index, enums.word(pb.TextWarningKind, w.kind)) for w in sent)


class EmbedBatch:
    """Vectors of the texts ``start`` to ``stop`` (exclusive) of the input.

    vectors        (n, d) in the element type asked for, read-only. binary: (n, ceil(d / 8)) uint8,
                   sign bits, most significant first. int8: times ``scales``, see ``as_float32``
    scales         (n,) float32 with int8, else None
    dimensions     elements of a vector
    model_version  the version that answered, ``models/{model}/versions/{n}``
    token_counts   (n,) int32: the tokens of each text that went into its vector
    truncated      (n,) bool: which texts were cut
    warnings       TextWarning tuples: what a caller should know of single texts
    timings        seconds on the server by phase: total, queue, tokenize, infer
    """

    error: StillroomError | None = None

    def __init__(self, start: int, stop: int, answer: WireEmbeddings) -> None:
        count = stop - start
        self.start = start
        self.stop = stop
        self._block = vectors.decode(answer.vectors, count)
        self.model_version = answer.model_version
        self.token_counts = each(answer.token_counts, count, np.int32, "token counts")
        self.truncated = each(answer.truncated, count, np.bool_, "truncation flags")
        self.warnings = text_warnings(answer.warnings)
        self.timings = seconds(answer.timings)

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.start}:{self.stop} {self.error or self.model_version}>"
        )

    @property
    def vectors(self) -> NDArray[Any]:
        """See the class."""
        return self._block.elements

    @property
    def scales(self) -> NDArray[np.float32] | None:
        """See the class."""
        return self._block.scales

    @property
    def dimensions(self) -> int:
        """See the class."""
        return self._block.dimensions

    def as_float32(self) -> NDArray[np.float32]:
        """The vectors as float32 numbers (n, d), int8 scaled; binary ones become -1 and 1."""
        return self._block.as_float32()

    def plain(self) -> NDArray[Any]:
        """The vectors in a form that needs nothing else: int8 scaled, all others as they came."""
        return self.vectors if self.scales is None else self.as_float32()


class FailedBatch(Failed, EmbedBatch):
    """The texts ``start`` to ``stop`` that the server refused, and why: ``error``. Every attribute
    that a batch has and this one lacks raises that error."""
