"""Embed of one short text with default options: the same answer as the general way's, sooner.

Whatever is out of the ordinary (several texts, options, a long text, a model that is not in memory,
a text that is cut or warned of) is left to the general way, which also words every refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, Protocol

from google.protobuf.message import Message

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_server.inference.models import LoadedStudent
from stillroom_server.inference.one_text import OneVector
from stillroom_server.inference.options import DEFAULT_OPTIONS, ElementType
from stillroom_server.inference.registry_models import StudentPool
from stillroom_server.observability.metrics import EmbedMetrics
from stillroom_server.rpc import embed_messages, wire
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

    def __init__(
        self,
        pool: StudentPool,
        metrics: EmbedMetrics,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        self._find = pool.try_get
        self._count = metrics.one_embedded
        self._clock = clock
        self._is_plain = Plain(settings)
        self._most_answer = settings.max_response_bytes
        self._timings = pb.EmbedTimings()

    def answer(
        self, request: Request, model: str, loaded: LoadedStudent | None = None
    ) -> bytes | None:
        """The encoded answer to a plain request to ``model``, which ``loaded`` is if it was found
        already. None: the general way decides. Raises what ``ModelPool.try_get`` raises."""
        if not model or not self._is_plain(request):
            return None
        loaded = loaded or self._find(model)
        if loaded is None:
            return None
        served = loaded.served
        embed_one = served.embed_one
        if embed_one is None or _most_bytes(served.dimensions) > self._most_answer:
            return None
        found: OneVector | None = embed_one(request.texts[0])
        if found is None:
            return None
        data, tokens, tokenize, infer, end = found
        timings = self._timings
        timings.tokenize_nanos = tokenizing = int(tokenize * 1e9)
        timings.infer_nanos = inferring = int(infer * 1e9)
        timings.total_nanos = tokenizing + inferring
        told = timings.SerializeToString()
        before, between = _around(loaded.name, len(data), tokens, len(told))
        encoded = b"".join((before, data, between, told))
        if correlation_id := request.correlation_id:
            encoded += wire.field(embed_messages.CORRELATION_ID, correlation_id.encode())
        self._count(loaded.model, tokens, tokenize, infer, self._clock() - end)
        return encoded


@lru_cache(256)
def _most_bytes(dimensions: int) -> int:
    return embed_messages.answer_bytes(1, dimensions, DEFAULT_OPTIONS)


@lru_cache(4096)  # names, and texts' lengths, recur
def _around(name: str, size: int, tokens: int, timings: int) -> tuple[bytes, bytes]:
    """What comes before the ``size`` bytes of the vector, and between it and as many of timings."""
    between = wire.field(_TOKEN_COUNTS, wire.varint(tokens)) + wire.opened(_TIMINGS, b"", timings)
    begin = embed_messages.beginning(name, 1, size // 4, ElementType.FLOAT32, size, 0)
    rest = size + len(between) + timings
    return wire.opened(embed_messages.EMBEDDINGS, begin, rest), between
