"""EmbeddingService: texts to vectors, by unary and by stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.values import ModelVersion
from stillroom_server.inference.models import LoadedModel, ModelPool
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.results import EmbedResult, Timings
from stillroom_server.observability.metrics import EmbedMetrics
from stillroom_server.rpc import embed_messages, errors
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.call import Call, in_thread, parse
from stillroom_server.rpc.embed_messages import Request, Summary
from stillroom_server.settings import Settings

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["EmbeddingService"]
# Up to here tokenizing takes less than about 10 ms with the slowest tokenizer, so the event loop
# does it itself: a thread costs each request 50 us or more and a large one's neighbors nothing.
INLINE_CHARACTERS = 64 * 1024
_FRAMING_BYTES = 8


class EmbeddingServicer:
    """Embeds on whatever the pool has loaded."""

    def __init__(
        self,
        pool: ModelPool[ModelVersion],
        settings: Settings,
        metrics: EmbedMetrics,
        admission: Admission,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._admission = admission
        self._clock = clock

    async def Embed(self, request: pb.EmbedRequest, call: Call) -> bytes:
        with self._admission.request():
            limit = self._settings.max_response_bytes
            return await self._embed(request, request.model, limit, "max_response_bytes")

    async def EmbedStream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        model = ""
        with self._admission.stream():
            async for data in requests:
                correlation_id = ""
                try:
                    request = parse(pb.EmbedStreamRequest, data, self._settings.max_request_bytes)
                    correlation_id = request.correlation_id
                    model = request.model or model
                    limit = self._settings.max_stream_bytes
                    answer = await self._embed(request, model, limit, "max_stream_bytes")
                except Exception as error:
                    yield self._error(error, correlation_id)
                else:
                    self._metrics.item("OK")
                    yield answer

    async def Tokenize(self, request: pb.TokenizeRequest, call: Call) -> pb.TokenizeResponse:
        with self._admission.request():
            if request.max_tokens < 0:
                raise InvalidArgument("max_tokens must not be negative", field="max_tokens")
            embed_messages.check_texts(request.texts, request.ByteSize(), self._settings)
            loaded = await self._model(request.model)
            return await in_thread(self._tokenize, loaded, request)

    def _tokenize(self, loaded: LoadedModel, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        """Text by text, for a token takes some 200 bytes here; the answer is bounded."""
        answer = pb.TokenizeResponse(model_version=loaded.name)
        size, limit = 0, self._settings.max_response_bytes
        for text in request.texts:
            for found in loaded.embedder.tokenize([text], request.max_tokens or None):
                answer.results.append(embed_messages.tokenized(found))
            size += answer.results[-1].ByteSize() + _FRAMING_BYTES
            if size > limit:
                raise InvalidArgument(
                    f"the answer would have more than max_response_bytes = {limit:,}; send fewer"
                    " or shorter texts, or set max_tokens",
                    reason="RESPONSE_TOO_LARGE",
                    field="texts",
                    metadata={"limit": str(limit), "limit_name": "max_response_bytes"},
                )
        return answer

    async def _embed(self, request: Request, model: str, limit: int, limit_name: str) -> bytes:
        started = self._clock()
        embed_messages.check(request, self._settings)
        options = embed_messages.options(request)
        loaded = await self._model(model)
        loaded.embedder.validate(options)
        size = embed_messages.answer_bytes(len(request.texts), loaded.embedder.dimensions, options)
        if size > limit:
            raise _too_large(size, limit, limit_name)
        result = await self._run(loaded, list(request.texts), options)
        computed = self._clock()
        summary = embed_messages.summarize(result)
        answer = embed_messages.response(
            request, loaded.name, result, summary, options.element_type, computed - started
        )
        self._observe(loaded.model, result.timings, summary, self._clock() - computed)
        return answer

    async def _model(self, ref: str) -> LoadedModel:
        if not ref:
            raise InvalidArgument(
                "model is empty; name one, such as my-student or my-student@3",
                reason="MODEL_REQUIRED",
                field="model",
            )
        return self._pool.try_get(ref) or await self._pool.get(ref)

    async def _run(
        self, loaded: LoadedModel, texts: list[str], options: EmbedOptions
    ) -> EmbedResult:
        if loaded.embedder.cost(texts, options) <= INLINE_CHARACTERS:
            return loaded.embedder.embed(texts, options)
        return await asyncio.to_thread(loaded.embedder.embed, texts, options)

    def _observe(self, model: str, timings: Timings, summary: Summary, serialize: float) -> None:
        metrics = self._metrics
        metrics.tokenize.observe(timings.tokenize)
        metrics.infer.observe(timings.infer)
        metrics.serialize.observe(serialize)
        tokens = summary.token_counts
        metrics.embedded(model, len(tokens), sum(tokens), summary.truncated, summary.warned)

    def _error(self, error: Exception, correlation_id: str) -> bytes:
        status = errors.to_status(error)
        self._metrics.item(errors.status_code(status).name)
        return pb.EmbedStreamResponse(
            error=status, correlation_id=correlation_id
        ).SerializeToString()


def _too_large(size: int, limit: int, name: str) -> InvalidArgument:
    return InvalidArgument(
        f"the answer would have up to {size:,} bytes, over {name} = {limit:,}; send fewer texts a"
        " message, over EmbedStream, or ask for fewer dimensions or a smaller element type",
        reason="RESPONSE_TOO_LARGE",
        field="texts",
        metadata={"bytes": str(size), "limit": str(limit), "limit_name": name},
    )
