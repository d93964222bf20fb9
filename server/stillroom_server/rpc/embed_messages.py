"""Embed requests as domain options, results as wire bytes.

An answer is written by hand around its block of vectors (see ``wire``); a test holds the bytes
equal to those of the public messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from stillroom.v1 import common_pb2
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.encoding import bytes_per_vector, encode
from stillroom_server.inference.options import DEFAULT_OPTIONS, ElementType, EmbedOptions
from stillroom_server.inference.results import EmbedResult, TextWarning
from stillroom_server.inference.tokenizers.huggingface import TokenizedText
from stillroom_server.rpc import translate, wire
from stillroom_server.settings import Settings

Request: TypeAlias = pb.EmbedRequest | pb.EmbedStreamRequest

ELEMENT_TYPES: dict[int, ElementType] = {
    common_pb2.ELEMENT_TYPE_UNSPECIFIED: ElementType.FLOAT32,
    common_pb2.ELEMENT_TYPE_FLOAT32: ElementType.FLOAT32,
    common_pb2.ELEMENT_TYPE_FLOAT16: ElementType.FLOAT16,
    common_pb2.ELEMENT_TYPE_INT8: ElementType.INT8,
    common_pb2.ELEMENT_TYPE_BINARY: ElementType.BINARY,
}
_LEFT: dict[int, bool] = {
    pb.TRUNCATION_DIRECTION_UNSPECIFIED: False,
    pb.TRUNCATION_DIRECTION_RIGHT: False,
    pb.TRUNCATION_DIRECTION_LEFT: True,
}
WARNINGS: dict[TextWarning, pb.TextWarningKind.ValueType] = {
    TextWarning.EMPTY: pb.TEXT_WARNING_KIND_EMPTY,
    TextWarning.ALL_UNKNOWN: pb.TEXT_WARNING_KIND_ALL_UNKNOWN,
}
# The fields that are written by hand, by message.
EMBEDDINGS, CORRELATION_ID = wire.tag(1), wire.tag(2)  # EmbedResponse, EmbedStreamResponse
_MODEL_VERSION, _VECTORS = wire.tag(1), wire.tag(2)  # Embeddings
_COUNT, _DIMENSIONS = 1, 2  # Vectors
_DATA = {
    ElementType.FLOAT32: wire.tag(3),
    ElementType.FLOAT16: wire.tag(4),
    ElementType.INT8: wire.tag(5),
    ElementType.BINARY: wire.tag(6),
}
_IN_A_MESSAGE = (ElementType.FLOAT32, ElementType.INT8)
_VALUES, SCALES = wire.tag(1), wire.tag(2)  # FloatBlock, Int8Block
# Bytes of an answer besides its vectors: names, timings, framing; and per text: its token count,
# whether it was cut, a warning.
FRAMING_BYTES = 8  # of a message within a message
_FIXED_BYTES = 512
_BYTES_PER_TEXT = 16


def options(request: Request) -> EmbedOptions:
    """The options of a request. Raises InvalidArgument on unknown enum values."""
    if not request.HasField("options") or not request.options.ByteSize():
        return DEFAULT_OPTIONS
    given = request.options
    if given.element_type not in ELEMENT_TYPES:
        raise translate.unknown_value(given.element_type, "options.element_type")
    if given.truncation_direction not in _LEFT:
        raise translate.unknown_value(given.truncation_direction, "options.truncation_direction")
    return EmbedOptions(
        truncate=not given.HasField("truncate") or given.truncate,
        truncate_left=_LEFT[given.truncation_direction],
        max_tokens=given.max_tokens or None,
        normalize=given.normalize if given.HasField("normalize") else None,
        dimensions=given.dimensions or None,
        prompt=given.prompt if given.HasField("prompt") else None,
        prompt_name=given.prompt_name if given.HasField("prompt_name") else None,
        element_type=ELEMENT_TYPES[given.element_type],
    )


def answer_bytes(texts: int, dimensions: int, chosen: EmbedOptions) -> int:
    """The most bytes that an answer to so many texts takes."""
    row = bytes_per_vector(chosen.dimensions or dimensions, chosen.element_type)
    return _FIXED_BYTES + texts * (row + _BYTES_PER_TEXT)


class Summary(NamedTuple):
    """What an answer tells of its texts, as plain numbers: cheaper than arrays for few texts."""

    token_counts: list[int]
    truncated: int
    warned: int


def summarize(result: EmbedResult) -> Summary:
    """Counts of a result. Flags are counted as bytes: a fifth of the cost of a reduction."""
    texts = len(result.warnings)
    return Summary(
        result.tokens.tolist(),
        result.truncated.tobytes().count(1),
        texts - result.warnings.tobytes().count(0),
    )


def response(
    request: Request,
    model_version: str,
    result: EmbedResult,
    summary: Summary,
    element_type: ElementType,
    total_seconds: float,
) -> bytes:
    """The encoded EmbedResponse, which is an EmbedStreamResponse too."""
    rest = pb.Embeddings(
        token_counts=summary.token_counts,
        timings=pb.EmbedTimings(
            total_nanos=int(total_seconds * 1e9),
            queue_nanos=int(result.timings.queue * 1e9),
            tokenize_nanos=int(result.timings.tokenize * 1e9),
            infer_nanos=int(result.timings.infer * 1e9),
        ),
    )
    if summary.truncated:
        rest.truncated.extend(result.truncated.tolist())
    if summary.warned:
        rest.warnings.extend(
            pb.TextWarning(index=index, kind=WARNINGS[kind]) for index, kind in result.warned()
        )
    encoded = encode(result.vectors, element_type)
    scales = b"" if encoded.scales is None else wire.field(SCALES, encoded.scales.tobytes())
    rows, dimensions = result.vectors.shape
    size = len(encoded.data)
    begin = beginning(model_version, rows, dimensions, element_type, size, len(scales))
    end = scales + rest.SerializeToString()
    begin = wire.opened(EMBEDDINGS, begin, size + len(end))
    if request.correlation_id:
        end += wire.field(CORRELATION_ID, request.correlation_id.encode())
    return b"".join((begin, encoded.data, end))


def beginning(
    model_version: str,
    rows: int,
    dimensions: int,
    element_type: ElementType,
    size: int,
    scales: int,
) -> bytes:
    """What comes in Embeddings before a block of ``size`` bytes that ``scales`` bytes follow."""
    vectors = vectors_beginning(_VECTORS, rows, dimensions, element_type, size, scales)
    return wire.field(_MODEL_VERSION, model_version.encode()) + vectors


def vectors_beginning(
    tag: bytes, rows: int, dimensions: int, element_type: ElementType, size: int, scales: int
) -> bytes:
    """What comes in a field of the type Vectors before such a block."""
    begin, follow = b"", size  # from the inside out
    if element_type in _IN_A_MESSAGE:
        begin = wire.opened(_VALUES, begin, follow)
    follow += scales
    begin = wire.opened(_DATA[element_type], begin, follow)
    return wire.opened(tag, _shape(rows, dimensions) + begin, follow)


def _shape(rows: int, dimensions: int) -> bytes:
    return wire.integer(_COUNT, rows) + wire.integer(_DIMENSIONS, dimensions)


def tokenized(found: TokenizedText) -> pb.TokenizedText:
    """One text of the answer of Tokenize."""
    return pb.TokenizedText(
        ids=found.ids, tokens=found.tokens, starts=found.starts, ends=found.ends
    )


class TextRequest(Protocol):
    """Any request that brings texts."""

    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def correlation_id(self) -> str: ...
    def ByteSize(self) -> int: ...


def check(request: TextRequest, settings: Settings, size: int | None = None) -> None:
    """What can be refused before any text is tokenized; ``size``: the bytes of the request, where
    they are known. Raises InvalidArgument."""
    if len(request.correlation_id.encode()) > settings.max_correlation_id_bytes:
        raise InvalidArgument(
            f"correlation_id is longer than {settings.max_correlation_id_bytes} bytes",
            reason="CORRELATION_ID_TOO_LONG",
            field="correlation_id",
        )
    check_texts(request.texts, request.ByteSize() if size is None else size, settings)


def check_texts(texts: Sequence[str], message_bytes: int, settings: Settings) -> None:
    """At least one text, not too many, none too long. Raises InvalidArgument."""
    count, limit = len(texts), settings.max_texts
    if not count:
        raise InvalidArgument(
            "texts is empty; send at least one text", reason="NO_TEXTS", field="texts"
        )
    if count > limit:
        raise InvalidArgument(
            f"{count:,} texts; this server takes {limit:,} a message (GetServerInfo: max_texts)."
            " Send several messages over the stream",
            reason="TOO_MANY_TEXTS",
            field="texts",
            metadata={"texts": str(count), "limit": str(limit)},
        )
    if message_bytes <= settings.max_text_bytes:
        return  # so no single text is longer: nearly every message ends here
    for index, text in enumerate(texts):
        size = len(text.encode())
        if size > settings.max_text_bytes:
            raise InvalidArgument(
                f"texts[{index}] has {size:,} bytes; this server takes {settings.max_text_bytes:,}"
                " a text (GetServerInfo: max_text_bytes)",
                reason="TEXT_TOO_LARGE",
                field=f"texts[{index}]",
                metadata={"bytes": str(size), "limit": str(settings.max_text_bytes)},
            )
