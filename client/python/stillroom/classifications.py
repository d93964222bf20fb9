"""What texts were classified as, as the client hands it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, overload

import numpy as np
from numpy.typing import NDArray

from stillroom._protocol.batches import Failed
from stillroom._protocol.columns import Columns, join, read
from stillroom.embeddings import TextWarning
from stillroom.errors import StillroomError
from stillroom.internal.v1.classification_wire_pb2 import WireClassifications


class ClassifyOptions(TypedDict, total=False):
    """How to classify. What is left out is the classifier's own.

    top_k                   so many labels of each text, most probable first, whether or not they
                            apply (default: the best one; multi-label: those that apply)
    abstention_threshold    confidence below which a text is abstained from, in [0, 1]; 0: never
    threshold               multi-label: where every label begins to apply, in [0, 1]
    truncate                cut texts that are too long; else they are InvalidArgument
    include_embeddings      answer the vectors that the head read, too
    embedding_element_type  theirs: "float32" (default), "float16", "int8" or "binary"
    """

    top_k: int | None
    abstention_threshold: float | None
    threshold: float | None
    truncate: bool | None
    include_embeddings: bool | None
    embedding_element_type: str | None


class Label(NamedTuple):
    """A label of a text, with its calibrated probability; ``applies`` is whether it reached its
    threshold (single-label: always True)."""

    name: str
    probability: float
    applies: bool = True


@dataclass(frozen=True, slots=True)
class Classification:
    """What one text is.

    labels       most probable first; none where none applies (multi-label)
    confidence   how sure the classifier is of this answer
    abstained    whether that is too little; the labels are there all the same
    token_count  tokens of the text that were read
    truncated    whether it was cut
    warning      None, "empty" or "all_unknown"
    """

    labels: tuple[Label, ...]
    confidence: float
    abstained: bool
    token_count: int
    truncated: bool
    warning: str | None

    @property
    def label(self) -> str | None:
        """The most probable label; None where there is none."""
        return self.labels[0].name if self.labels else None

    @property
    def probability(self) -> float:
        """That of ``label``; 0 where there is none."""
        return self.labels[0].probability if self.labels else 0.0


class Classifications(Sequence[Classification]):
    """What the texts ``start`` to ``stop`` (exclusive) of the input are: a sequence with one
    Classification a text, and columns for what is done to all of them at once.

    labels         a list: the most probable label of each text, None where there is none
    label_sets     a list of tuples: the labels of each text that apply
    probabilities  (n,) float32, of ``labels``; 0 where there is none
    confidences    (n,) float32: how sure the classifier is of each text's answer
    abstained      (n,) bool: whether that is too little, or no token of the text is known
    token_counts   (n,) int32: the tokens of each text that were read
    truncated      (n,) bool: which texts were cut
    warnings       TextWarning tuples: what a caller should know of single texts
    embeddings     (n, d), with ``include_embeddings``; int8 is answered as float32, scaled
    model_version  the version that answered, ``models/{model}/versions/{n}``; of a long input the
                   last one, where an alias moved meanwhile
    timings        seconds on the server by phase, added up: total, queue, tokenize, infer, head

    All labels, where texts may have several: text i has the next ``label_counts[i]`` entries of
    ``label_indices`` (which point to ``classes``), ``label_probabilities`` and ``label_applies``.
    """

    error: StillroomError | None = None

    def __init__(self, start: int, stop: int, columns: Columns) -> None:
        self.start = start
        self.stop = stop
        self._columns = columns

    @classmethod
    def of_answer(cls, start: int, stop: int, answer: WireClassifications) -> Classifications:
        """Of the answer to these texts; Internal when it contradicts itself."""
        return cls(start, stop, read(answer, stop - start))

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.start}:{self.stop} {self.error or self.model_version}>"
        )

    @overload
    def __getitem__(self, index: int) -> Classification: ...
    @overload
    def __getitem__(self, index: slice) -> list[Classification]: ...
    def __getitem__(self, index: int | slice) -> Classification | list[Classification]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        return next(self._rows(row, row + 1))

    def __iter__(self) -> Iterator[Classification]:
        return self._rows(0, len(self))

    def _rows(self, first: int, last: int) -> Iterator[Classification]:
        found = self._columns
        ends = found.ends[first : last + 1].tolist()
        entries = slice(ends[0], ends[-1])
        labels = [
            Label(found.classes[index], probability, applies)
            for index, probability, applies in zip(
                found.indices[entries].tolist(),
                found.probabilities[entries].tolist(),
                found.applies[entries].tolist(),
                strict=True,
            )
        ]
        remarks = {warning.row: warning.kind for warning in found.warnings}
        columns = (found.confidences, found.abstained, found.token_counts, found.truncated)
        confidences, abstained, tokens, truncated = (
            column[first:last].tolist() for column in columns
        )
        for place in range(last - first):
            own = labels[ends[place] - ends[0] : ends[place + 1] - ends[0]]
            yield Classification(
                labels=tuple(own),
                confidence=confidences[place],
                abstained=abstained[place],
                token_count=tokens[place],
                truncated=truncated[place],
                warning=remarks.get(first + place),
            )

    @property
    def labels(self) -> list[str | None]:
        """See the class."""
        names = (*self._columns.classes, None)
        return [names[index] for index in self._columns.first(self._columns.indices, -1).tolist()]

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """See the class."""
        return [tuple(label.name for label in text.labels if label.applies) for text in self]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """See the class."""
        return self._columns.first(self._columns.probabilities, 0)

    @property
    def confidences(self) -> NDArray[np.float32]:
        """See the class."""
        return self._columns.confidences

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """See the class."""
        return self._columns.abstained

    @property
    def token_counts(self) -> NDArray[np.int32]:
        """See the class."""
        return self._columns.token_counts

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """See the class."""
        return self._columns.truncated

    @property
    def warnings(self) -> tuple[TextWarning, ...]:
        """See the class."""
        return self._columns.warnings

    @property
    def embeddings(self) -> NDArray[Any] | None:
        """See the class."""
        return self._columns.embeddings

    @property
    def model_version(self) -> str:
        """See the class."""
        return self._columns.model_version

    @property
    def timings(self) -> dict[str, float]:
        """See the class."""
        return self._columns.timings

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that the answer names, each once; it may hold some that no text was given."""
        return self._columns.classes

    @property
    def label_counts(self) -> NDArray[np.int32]:
        """See the class."""
        counts: NDArray[np.int32] = np.diff(self._columns.ends).astype(np.int32)
        return counts

    @property
    def label_indices(self) -> NDArray[np.int32]:
        """See the class."""
        return self._columns.indices

    @property
    def label_probabilities(self) -> NDArray[np.float32]:
        """See the class."""
        return self._columns.probabilities

    @property
    def label_applies(self) -> NDArray[np.bool_]:
        """See the class."""
        return self._columns.applies


class FailedClassifications(Failed, Classifications):
    """The texts ``start`` to ``stop`` that the server refused, and why: ``error``. Every attribute
    that classifications have and these lack raises that error."""


class Collector:
    """Makes one of the batches of a stream; memory is bounded by the result. ``total`` is the
    number of texts to come where it is known."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._parts: list[Columns] = []

    def add(self, batch: Classifications) -> None:
        """Appends a batch."""
        self._parts.append(batch._columns)

    def finish(self) -> Classifications:
        """All of them."""
        columns = join(self._parts, self._total)
        return Classifications(0, len(columns.confidences), columns)
