"""Classifications as columns of numbers: read from answers, checked, and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stillroom._protocol import packed
from stillroom._protocol.batches import seconds
from stillroom._protocol.vectors import Rows, decode, malformed
from stillroom.embeddings import TextWarning, text_warnings
from stillroom.internal.v1.classification_wire_pb2 import WireClassifications

T = TypeVar("T", np.int32, np.float32, np.bool_)


@dataclass(eq=False)
class Columns:
    """n texts with m labels in all: those of text i are the entries ``ends[i]`` to ``ends[i + 1]``.

    classes        names of labels
    ends           (n + 1,) int64, from 0
    indices        (m,) int32 into ``classes``
    probabilities  (m,) float32
    applies        (m,) bool
    confidences    (n,) float32
    abstained      (n,) bool
    token_counts   (n,) int32
    truncated      (n,) bool
    embeddings     (n, d) or None
    """

    model_version: str
    classes: tuple[str, ...]
    ends: NDArray[np.int64]
    indices: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    applies: NDArray[np.bool_]
    confidences: NDArray[np.float32]
    abstained: NDArray[np.bool_]
    token_counts: NDArray[np.int32]
    truncated: NDArray[np.bool_]
    warnings: tuple[TextWarning, ...]
    embeddings: NDArray[Any] | None
    timings: dict[str, float]

    def first(self, values: NDArray[T], default: int) -> NDArray[T]:
        """(n,): of each text's entries of ``values`` the first, ``default`` where it has none."""
        found = np.full(len(self.ends) - 1, default, values.dtype)
        some = self.ends[:-1] < self.ends[1:]
        found[some] = values[self.ends[:-1][some]]
        return found


class Unread(Columns):
    """Those of an answer that was found to be ``_plain``: each is made when it is first asked for,
    as most callers ask for one or two."""

    def __init__(self, answer: WireClassifications, count: int) -> None:
        self._answer = answer
        self._count = count

    def __getattr__(self, name: str) -> Any:
        how = _EACH.get(name)
        if how is None:
            raise AttributeError(name)
        value = how(self._answer, self._count)
        setattr(self, name, value)
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns, tuple(getattr(self, name) for name in _EACH)

    def first(self, values: NDArray[T], default: int) -> NDArray[T]:  # noqa: ARG002
        """As that of others; here each text has one entry."""
        return values.copy()


def read(answer: WireClassifications, count: int) -> Columns:
    """The columns of an answer to ``count`` texts, read-only; Internal when it contradicts
    itself."""
    if _is_plain(answer, count):
        return Unread(answer, count)
    ends = _ends(answer.label_counts, count)
    entries = int(ends[-1])
    indices = packed.integers(answer.label_indices, entries, "labels")
    # As unsigned ones, numbers below 0 are beyond all labels.
    if entries and indices.view(np.uint32).max() >= len(answer.labels):
        raise malformed(f"a label that is not among the {len(answer.labels)} that it names")
    return Columns(
        model_version=answer.model_version,
        classes=tuple(answer.labels),
        ends=ends,
        indices=indices,
        probabilities=packed.floats(answer.probabilities, entries, "probabilities"),
        # Left out: all that are answered apply.
        applies=_flags(answer.applies, entries, "flags of what applies", default=True),
        confidences=packed.floats(answer.confidences, count, "confidences"),
        abstained=_flags(answer.abstained, count, "abstentions"),
        token_counts=_integers(answer.token_counts, count, "token counts"),
        truncated=_flags(answer.truncated, count, "truncation flags"),
        warnings=text_warnings(answer.warnings),
        embeddings=_embeddings(answer, count),
        timings=seconds(answer.timings),
    )


def _is_plain(answer: WireClassifications, count: int) -> bool:
    """Whether each text has one label, there are no vectors, every number is one byte, and there
    are as many of each kind as there have to be: then nothing of it can contradict the rest."""
    counts, indices = answer.label_counts, answer.label_indices
    if not len(counts) == len(indices) == count == counts.count(1):
        return False
    if not count or max(indices) >= min(len(answer.labels), 1 << 7):
        return False
    if not len(answer.probabilities) == len(answer.confidences) == 4 * count:
        return False
    for column in (answer.applies, answer.abstained, answer.token_counts, answer.truncated):
        if column and not (len(column) == count and column.isascii()):
            return False
    return not answer.HasField("embeddings")


# What ``read`` makes of such an answer, in the order of Columns.
_EACH: dict[str, Callable[[WireClassifications, int], Any]] = {
    "model_version": lambda answer, _: answer.model_version,
    "classes": lambda answer, _: tuple(answer.labels),
    "ends": lambda _, count: np.arange(count + 1, dtype=np.int64),
    "indices": lambda answer, count: packed.integers(answer.label_indices, count, "labels"),
    "probabilities": lambda answer, _: np.frombuffer(answer.probabilities, "<f4"),
    "applies": lambda answer, count: _flags(answer.applies, count, "flags", default=True),
    "confidences": lambda answer, _: np.frombuffer(answer.confidences, "<f4"),
    "abstained": lambda answer, count: _flags(answer.abstained, count, "abstentions"),
    "token_counts": lambda answer, count: _integers(answer.token_counts, count, "token counts"),
    "truncated": lambda answer, count: _flags(answer.truncated, count, "truncation flags"),
    "warnings": lambda answer, _: text_warnings(answer.warnings),
    "embeddings": lambda _, __: None,
    "timings": lambda answer, _: seconds(answer.timings),
}


def _ends(data: bytes, count: int) -> NDArray[np.int64]:
    """Where each text's labels end, after a 0; from their packed counts."""
    if len(data) == count == data.count(1):  # one each, unless more are asked for
        return np.arange(count + 1, dtype=np.int64)
    counts = packed.integers(data, count, "label counts")
    if (counts < 0).any():
        raise malformed("a text with fewer than no labels")
    ends = np.zeros(count + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends


def _integers(data: bytes, count: int, what: str) -> NDArray[np.int32]:
    """One a text; 0 for all where the answer leaves them out."""
    return packed.integers(data, count, what) if data else np.zeros(count, np.int32)


def _flags(data: bytes, count: int, what: str, *, default: bool = False) -> NDArray[np.bool_]:
    """One a text or label; ``default`` for all where the answer leaves them out."""
    return packed.flags(data, count, what) if data else _all(count, default)


@lru_cache(64)
def _all(count: int, value: bool) -> NDArray[np.bool_]:
    flags = np.full(count, value)
    flags.flags.writeable = False
    return flags


def _embeddings(answer: WireClassifications, count: int) -> NDArray[Any] | None:
    if not answer.HasField("embeddings"):
        return None
    block = decode(answer.embeddings, count)
    return block.elements if block.scales is None else block.as_float32()


def join(parts: Sequence[Columns], total: int | None) -> Columns:
    """One after the other; at least one. Equal names of labels become one label."""
    places: dict[str, int] = {}
    indices: list[NDArray[np.int32]] = []
    warnings: list[TextWarning] = []
    lengths: list[NDArray[np.int64]] = []
    timings: dict[str, float] = {}
    texts = 0
    for part in parts:
        renamed = [places.setdefault(name, len(places)) for name in part.classes]
        indices.append(np.array(renamed, np.int32)[part.indices])
        lengths.append(np.diff(part.ends))
        warnings += [TextWarning(warning.row + texts, warning.kind) for warning in part.warnings]
        for phase, spent in part.timings.items():
            timings[phase] = timings.get(phase, 0.0) + spent
        texts += len(part.confidences)
    ends = np.zeros(texts + 1, np.int64)
    np.cumsum(np.concatenate(lengths), out=ends[1:])
    return Columns(
        model_version=parts[-1].model_version,
        classes=tuple(places),
        ends=ends,
        indices=np.concatenate(indices),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        applies=np.concatenate([part.applies for part in parts]),
        confidences=np.concatenate([part.confidences for part in parts]),
        abstained=np.concatenate([part.abstained for part in parts]),
        token_counts=np.concatenate([part.token_counts for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        warnings=tuple(warnings),
        embeddings=_joined([part.embeddings for part in parts], total),
        timings=timings,
    )


def _joined(blocks: Sequence[NDArray[Any] | None], total: int | None) -> NDArray[Any] | None:
    given = [block for block in blocks if block is not None]
    if len(given) != len(blocks):
        return None
    rows = Rows(total)
    for block in given:
        rows.add(block)
    return rows.finish()
