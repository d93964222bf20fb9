"""Embed of one short text with default options: the same answer as the general way's, sooner.

Whatever is out of the ordinary (several texts, options, a long text, a model that is not in memory,
a text that is cut or warned of) is left to the general way, which also words every refusal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Protocol

from google.protobuf.message import Message

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_server.inference.models import LoadedStudent
from stillroom_server.inference.one_text import OneVector
from stillroom_server.inference.options import DEFAULT_OPTIONS, ElementType
from stillroom_server.rpc import embed_messages, wire
from stillroom_server.rpc.answers import Answers
from stillroom_server.rpc.embed_messages import Request, TextRequest
from stillroom_server.settings import Settings

_TOKEN_COUNTS, _TIMINGS = wire.tag(3), wire.tag(6)  # Embeddings
_BYTES_PER_CHARACTER = 4  # of UTF-8, at most
_MOST_CHARACTERS = 8192  # here it is the fixed costs that count


class PlainRequest(TextRequest, Protocol):
    """Any request that brings texts and options."""

    def HasField(self, field: Literal["options"], /) -> bool: ...
    @property
    def options(self) -> Message: ...


class Plain:
    """Whether a request is about one short text, with default options."""

    def __init__(self, settings: Settings) -> None:
        self._most = min(_MOST_CHARACTERS, settings.max_text_bytes // _BYTES_PER_CHARACTER)
        self._most_correlation = settings.max_correlation_id_bytes // _BYTES_PER_CHARACTER

    def __call__(self, request: PlainRequest) -> bool:
        texts = request.texts
        return (
            len(texts) == 1
            and not (request.HasField("options") and request.options.ByteSize())
            and len(texts[0]) <= self._most
            and len(request.correlation_id) <= self._most_correlation
        )


class OneTextAnswers:
    """For the event loop's thread only: the message for timings is used again and again."""

    def __init__(self, answers: Answers, settings: Settings) -> None:
        self._answers = answers
        self._most_answer = settings.max_response_bytes
        self._timings = pb.EmbedTimings()
        self.is_plain = Plain(settings)
        """Whether ``answer`` may be asked."""

    def answer(self, request: Request, loaded: LoadedStudent) -> bytes | None:
        """The encoded answer to a plain request; None: the general way decides."""
        # Kinds of students to come need not have it.
        embed_one = getattr(loaded.served, "embed_one", None)
        if embed_one is None:
            return None
        if _most_bytes(loaded.served.dimensions) > self._most_answer:
            return None
        started = self._answers.clock()
        found: OneVector | None = embed_one(request.texts[0])
        if found is None:
            return None
        computed = self._answers.clock()
        encoded = self._encoded(loaded.name, found, request.correlation_id, computed - started)
        self._answers.one_embedded(loaded.model, found, computed)
        return encoded

    def _encoded(self, name: str, found: OneVector, correlation_id: str, total: float) -> bytes:
        timings = self._timings
        timings.total_nanos = int(total * 1e9)
        timings.tokenize_nanos = int(found.tokenize * 1e9)
        timings.infer_nanos = int(found.infer * 1e9)
        end = _token_count(found.tokens) + wire.field(_TIMINGS, timings.SerializeToString())
        begin = _beginning(name, len(found.data))
        begin = wire.opened(embed_messages.EMBEDDINGS, begin, len(found.data) + len(end))
        if correlation_id:
            end += wire.field(embed_messages.CORRELATION_ID, correlation_id.encode())
        return b"".join((begin, found.data, end))


@lru_cache(256)
def _most_bytes(dimensions: int) -> int:
    return embed_messages.answer_bytes(1, dimensions, DEFAULT_OPTIONS)


@lru_cache(256)
def _beginning(name: str, size: int) -> bytes:
    """What comes before the ``size`` bytes of the vector in Embeddings."""
    dimensions = size // 4
    return embed_messages.beginning(name, 1, dimensions, ElementType.FLOAT32, size, 0)


@lru_cache(1024)
def _token_count(tokens: int) -> bytes:
    return wire.field(_TOKEN_COUNTS, wire.varint(tokens))
