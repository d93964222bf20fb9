"""Classify requests as domain options, results as wire bytes.

Answers are columns of plain numbers, written by hand from arrays (see ``wire``); a test holds the
bytes equal to those of the public messages.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_server.inference.classifier.classified import Classified
from stillroom_server.inference.classifier.one_text import OneAnswer
from stillroom_server.inference.classifier.plans import (
    DEFAULT_CLASSIFY_OPTIONS,
    ClassifyOptions,
    ClassifyPlan,
)
from stillroom_server.inference.encoding import bytes_per_vector, encode
from stillroom_server.inference.options import ElementType
from stillroom_server.inference.results import TextWarning
from stillroom_server.rpc import embed_messages, translate, wire

Request: TypeAlias = pb.ClassifyRequest | pb.ClassifyStreamRequest
Optioned: TypeAlias = Request | pb.EvaluateClassifierRequest

# The fields that are written by hand, by message.
_CLASSIFICATIONS, _CORRELATION_ID = wire.tag(1), wire.tag(2)  # Classify(Stream)Response
_MODEL_VERSION, _LABELS, _LABEL_COUNTS, _LABEL_INDICES = map(wire.tag, (1, 2, 3, 4))
_PROBABILITIES, _APPLIES, _CONFIDENCES, _ABSTAINED = map(wire.tag, (5, 6, 7, 8))
_TOKEN_COUNTS, _TRUNCATED, _WARNINGS, _EMBEDDINGS = map(wire.tag, (9, 10, 11, 12))
_TIMINGS = wire.tag(13)
_ONE_LABEL = wire.field(_LABEL_COUNTS, b"\1") + wire.field(_LABEL_INDICES, b"\0")
_ONE_ABSTAINED = wire.field(_ABSTAINED, b"\1")
_FLOAT_BYTES = 4
_ONE_PROBABILITY, _ONE_CONFIDENCE = (
    wire.opened(tag, b"", _FLOAT_BYTES) for tag in (_PROBABILITIES, _CONFIDENCES)
)
# Bytes of an answer besides what is counted for each text: names, timings, framing.
_FIXED_BYTES = 768
# Of each text: its number of labels, confidence, tokens, whether it was cut and abstained from, a
# warning.
_BYTES_PER_TEXT = 28
_BYTES_PER_ENTRY = 5  # a probability and whether it applies; the index comes to that


def options(request: Optioned) -> ClassifyOptions:
    """The options of a request. Raises InvalidArgument on unknown enum values."""
    if not request.HasField("options") or not request.options.ByteSize():
        return DEFAULT_CLASSIFY_OPTIONS
    given = request.options
    element_type = None
    if given.embedding_element_type:
        element_type = embed_messages.ELEMENT_TYPES.get(given.embedding_element_type)
        if element_type is None:
            raise translate.unknown_value(
                given.embedding_element_type, "options.embedding_element_type"
            )
    return ClassifyOptions(
        top_k=given.top_k,
        abstention_threshold=(
            given.abstention_threshold if given.HasField("abstention_threshold") else None
        ),
        threshold=given.threshold if given.HasField("threshold") else None,
        truncate=given.truncate if given.HasField("truncate") else None,
        include_embeddings=given.include_embeddings,
        embedding_element_type=element_type,
    )


class Labels:
    """The labels of a classifier as fields of an answer."""

    def __init__(self, names: Sequence[str]) -> None:
        self._fields = [wire.field(_LABELS, name.encode()) for name in names]
        self._all = b"".join(self._fields)
        self._longest = max(map(len, self._fields))
        self._one = [field + _ONE_LABEL + _ONE_PROBABILITY for field in self._fields]
        self.one_answer_bytes = _FIXED_BYTES + _BYTES_PER_TEXT + _BYTES_PER_ENTRY + self._longest
        """The most bytes of an answer that gives one text one label."""

    def __len__(self) -> int:
        return len(self._fields)

    def one(self, index: int) -> bytes:
        """The fields of an answer that names that label alone, up to its probability."""
        return self._one[index]

    def named(self, indices: npt.NDArray[np.integer]) -> tuple[bytes, bytes]:
        """The labels that an answer names, and ``indices`` as packed indices into those: all labels
        where most may be named, else only those that are."""
        if len(indices) >= len(self._fields):
            return self._all, wire.varints(indices)
        given = indices.tolist()
        used = sorted(set(given))
        places = dict(zip(used, range(len(used)), strict=True))
        fields = b"".join([self._fields[index] for index in used])
        return fields, wire.varints_of([places[index] for index in given])

    def most_bytes(self, entries: int) -> int:
        """Of the labels that so many entries name."""
        return min(len(self._all), entries * self._longest)


def answer_bytes(texts: int, labels: Labels, dimensions: int, how: ClassifyPlan) -> int:
    """The most bytes of an answer to so many texts."""
    entries = how.most_labels
    row = bytes_per_vector(dimensions, how.element_type) if how.element_type else 0
    each = _BYTES_PER_ENTRY + len(wire.varint(len(labels)))
    size = _FIXED_BYTES + labels.most_bytes(texts * entries)
    return size + texts * (_BYTES_PER_TEXT + entries * each + row)


class Summary(NamedTuple):
    """What an answer tells of its texts, as plain numbers."""

    texts: int
    tokens: int
    truncated: int
    warned: int
    abstained: int


def summarize(result: Classified) -> Summary:
    """Counts of a result. Flags are counted as bytes: a fifth of the cost of a reduction."""
    texts = len(result.warnings)
    return Summary(
        texts,
        int(np.add.reduce(result.tokens)) if texts > wire.FEW else sum(result.tokens.tolist()),
        result.truncated.tobytes().count(1),
        texts - result.warnings.tobytes().count(0),
        0 if result.abstained is None else result.abstained.tobytes().count(1),
    )


def response(
    request: Request,
    model_version: str,
    result: Classified,
    labels: Labels,
    summary: Summary,
    element_type: ElementType | None,
    total_seconds: float,
) -> bytes:
    """The encoded ClassifyResponse, which is a ClassifyStreamResponse too."""
    names, indices = labels.named(result.label_indices)
    pieces = [
        _version(model_version),
        names,
        _label_counts(result.label_counts.tobytes()),
        wire.packed(_LABEL_INDICES, indices),
        wire.packed(_PROBABILITIES, _floats(result.probabilities)),
        b"" if result.applies is None else wire.packed(_APPLIES, result.applies.tobytes()),
        wire.packed(_CONFIDENCES, _floats(result.confidences)),
    ]
    if summary.abstained and result.abstained is not None:
        pieces.append(wire.field(_ABSTAINED, result.abstained.tobytes()))
    pieces.append(wire.packed(_TOKEN_COUNTS, wire.varints(result.tokens)))
    if summary.truncated:
        pieces.append(wire.field(_TRUNCATED, result.truncated.tobytes()))
    if summary.warned:
        pieces += [_warning(int(i), result.warnings[i]) for i in np.flatnonzero(result.warnings)]
    if result.vectors is not None and element_type is not None:
        pieces += _vectors(result.vectors, element_type)
    timings = result.timings
    told = pb.ClassifyTimings(
        total_nanos=int(total_seconds * 1e9),
        queue_nanos=int(timings.queue * 1e9),
        tokenize_nanos=int(timings.tokenize * 1e9),
        infer_nanos=int(timings.infer * 1e9),
        head_nanos=int(timings.head * 1e9),
    )
    pieces.append(wire.field(_TIMINGS, told.SerializeToString()))
    return answer(pieces, request.correlation_id)


@lru_cache(64)  # most answers give each of so many texts one label
def _label_counts(counts: bytes) -> bytes:
    return wire.packed(_LABEL_COUNTS, wire.varints(np.frombuffer(counts, np.int32)))


def one_response(
    model_version: str,
    found: OneAnswer,
    labels: Labels,
    correlation_id: str,
    told: pb.ClassifyTimings,
) -> bytes:
    """The same of one text's best label alone; ``told`` is overwritten: one message that is used
    again and again."""
    index, probability, abstained, tokens, tokenize, infer, head, _ = found
    told.tokenize_nanos = tokenizing = int(tokenize * 1e9)
    told.infer_nanos = inferring = int(infer * 1e9)
    told.head_nanos = heading = int(head * 1e9)
    told.total_nanos = tokenizing + inferring + heading
    timings = told.SerializeToString()
    value = struct.pack("<f", probability)
    label = labels.one(index)
    size = len(label) + len(timings)
    begin, end = _around_one(model_version, abstained, tokens, size, len(timings))
    encoded = b"".join((begin, label, value, _ONE_CONFIDENCE, value, end, timings))
    return encoded + _correlated(correlation_id) if correlation_id else encoded


@lru_cache(4096)  # names, and texts' lengths, recur
def _around_one(
    model_version: str, abstained: bool, tokens: int, size: int, timings: int
) -> tuple[bytes, bytes]:
    """What comes before the label of one text, and between its confidence and the timings, if both
    take ``size`` bytes."""
    begin = _version(model_version)
    end = _ONE_ABSTAINED if abstained else b""
    end += _token_count(tokens) + wire.opened(_TIMINGS, b"", timings)
    size += 2 * _FLOAT_BYTES + len(_ONE_CONFIDENCE) + len(end)
    return wire.opened(_CLASSIFICATIONS, begin, size), end


def answer(pieces: list[bytes], correlation_id: str) -> bytes:
    """The encoded answer around the fields of its Classifications."""
    begin = wire.opened(_CLASSIFICATIONS, b"", sum(map(len, pieces)))
    end = _correlated(correlation_id) if correlation_id else b""
    return b"".join((begin, *pieces, end))


def _correlated(correlation_id: str) -> bytes:
    return wire.field(_CORRELATION_ID, correlation_id.encode())


@lru_cache(256)
def _version(name: str) -> bytes:
    return wire.field(_MODEL_VERSION, name.encode())


@lru_cache(1024)
def _token_count(tokens: int) -> bytes:
    return wire.field(_TOKEN_COUNTS, wire.varint(tokens))


def _floats(values: npt.NDArray[np.floating]) -> bytes:
    return values.astype("<f4", copy=False).tobytes()


def _warning(index: int, kind: int) -> bytes:
    number = embed_messages.WARNINGS[TextWarning(kind)]
    return wire.field(_WARNINGS, wire.integer(1, index) + wire.integer(2, number))


def _vectors(vectors: npt.NDArray[np.float32], element_type: ElementType) -> list[bytes]:
    encoded = encode(vectors, element_type)
    scales = b""
    if encoded.scales is not None:
        scales = wire.field(embed_messages.SCALES, encoded.scales.tobytes())
    rows, dimensions = vectors.shape
    begin = embed_messages.vectors_beginning(
        _EMBEDDINGS, rows, dimensions, element_type, len(encoded.data), len(scales)
    )
    return [begin, encoded.data, scales]
