"""EmbeddingService: texts to vectors, by unary and by stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_registry.values import ModelVersion
from stillroom_server.inference.models import LoadedStudent
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.registry_models import NotAStudent, StudentPool
from stillroom_server.inference.results import EmbedResult
from stillroom_server.inference.transformer.embedder import TransformerEmbedder
from stillroom_server.observability.metrics import EmbedMetrics
from stillroom_server.rpc import embed_messages
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.answers import AnswerLimit, Answers
from stillroom_server.rpc.call import Call, parse, to_its_end
from stillroom_server.rpc.embed_messages import FRAMING_BYTES, Request
from stillroom_server.rpc.one_text import OneTextAnswers
from stillroom_server.rpc.pipeline import Pending, Started, in_order
from stillroom_server.rpc.teaching import Teaching, teacher_version
from stillroom_server.settings import Settings
from stillroom_server.teachers.teachers import Teachers

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["EmbeddingService"]
# Up to here tokenizing takes less than about 10 ms with the slowest tokenizer, so the event loop
# does it itself: a thread costs each request 50 us or more and a large one's neighbors nothing.
INLINE_CHARACTERS = 64 * 1024


class EmbeddingServicer:
    """Embeds on whatever the pool has loaded, and on teachers."""

    def __init__(
        self,
        pool: StudentPool,
        teachers: Teachers,
        settings: Settings,
        metrics: EmbedMetrics,
        admission: Admission,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._admission = admission
        self._answers = Answers(metrics, clock)
        self._one_text = OneTextAnswers(pool, metrics, settings, clock)
        self._teaching = Teaching(teachers, self._answers)
        self._unary = AnswerLimit("max_response_bytes", settings.max_response_bytes)
        self._stream = AnswerLimit("max_stream_bytes", settings.max_stream_bytes)

    async def Embed(self, request: pb.EmbedRequest, call: Call) -> bytes:
        with self._admission.request():
            try:
                return await self._embed(request, request.model, self._unary)
            except NotAStudent as other:
                version = teacher_version(other)
            seconds = call.seconds_left()
            return await self._teaching.embed(request, version, self._unary, seconds, wait=False)

    def embed_at_once(self, request: pb.EmbedRequest) -> bytes | None:
        """The answer about one short text, if the model is in memory."""
        if self._admission.request.is_full:
            return None
        try:
            return self._one_text.answer(request, request.model)
        except StillroomError:
            return None  # the general way words it

    async def EmbedStream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        model = ""

        async def start(data: bytes) -> Started:
            nonlocal model
            correlation_id = ""
            try:
                request = parse(pb.EmbedStreamRequest, data, self._settings.max_request_bytes)
                correlation_id = request.correlation_id
                model = request.model or model
                try:
                    ready = self._pool.try_get(model) if model else None
                    if ready is not None and isinstance(ready.served, TransformerEmbedder):
                        return self._later(request, model, ready)
                    answer = self._one_text.answer(request, model, ready)
                    if answer is None:
                        answer = await self._embed(request, model, self._stream, ready)
                except NotAStudent as other:
                    return self._teach(request, teacher_version(other), call)
            except Exception as error:
                return self._answers.item_error(error, correlation_id)
            self._answers.item_done()
            return answer

        window, most = self._settings.max_stream_window, self._stream.value
        with self._admission.stream():
            answers = in_order(aiter(requests), start, window=window, max_bytes=most)
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield answer

    def _teach(self, request: pb.EmbedStreamRequest, version: ModelVersion, call: Call) -> Pending:
        async def embedded() -> bytes:
            seconds = call.seconds_left()
            return await self._teaching.embed(request, version, self._stream, seconds, wait=True)

        size = self._teaching.most_bytes(request, version)
        return Pending(asyncio.create_task(self._item(request, embedded)), size)

    def _later(self, request: pb.EmbedStreamRequest, model: str, ready: LoadedStudent) -> Pending:
        """An item that takes long enough to read further ones meanwhile."""
        options = embed_messages.options(request)
        dimensions = ready.served.dimensions
        size = embed_messages.answer_bytes(len(request.texts), dimensions, options)
        embedded = partial(self._embed, request, model, self._stream, ready)
        return Pending(asyncio.create_task(self._item(request, embedded)), size)

    async def _item(
        self, request: pb.EmbedStreamRequest, embedded: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        try:
            answer = await embedded()
        except Exception as error:
            return self._answers.item_error(error, request.correlation_id)
        self._answers.item_done()
        return answer

    async def Tokenize(self, request: pb.TokenizeRequest, call: Call) -> pb.TokenizeResponse:
        with self._admission.request():
            if request.max_tokens < 0:
                raise InvalidArgument("max_tokens must not be negative", field="max_tokens")
            size, most = request.ByteSize(), self._settings.max_tokenize_bytes
            embed_messages.check_texts(request.texts, size, self._settings)
            if size > most:
                raise InvalidArgument(
                    f"the request has {size:,} bytes; Tokenize takes {most:,}"
                    " (max_tokenize_bytes). Send fewer or shorter texts",
                    reason="REQUEST_TOO_LARGE",
                    field="texts",
                    metadata={"bytes": str(size), "limit": str(most)},
                )
            try:
                loaded = await self._model(request.model)
                return await to_its_end(self._tokenize, loaded, request)
            except NotAStudent as other:
                version = teacher_version(other)
            seconds = call.seconds_left()
            return await self._teaching.tokenize(request, version, self._unary, seconds)

    def _tokenize(self, loaded: LoadedStudent, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        """Text by text, for a token takes some 200 bytes here; the answer is bounded."""
        answer = pb.TokenizeResponse(model_version=loaded.name)
        size = 0
        for text in request.texts:
            for found in loaded.served.tokenize([text], request.max_tokens or None):
                answer.results.append(embed_messages.tokenized(found))
            size += answer.results[-1].ByteSize() + FRAMING_BYTES
            self._unary.check(size)
        return answer

    async def _embed(
        self, request: Request, model: str, limit: AnswerLimit, ready: LoadedStudent | None = None
    ) -> bytes:
        """``ready``: what ``model`` means, where that was asked already."""
        started = self._answers.clock()
        embed_messages.check(request, self._settings)
        options = embed_messages.options(request)
        loaded = ready or await self._model(model)
        loaded.served.validate(options)
        size = embed_messages.answer_bytes(len(request.texts), loaded.served.dimensions, options)
        limit.check(size)
        result = await self._run(loaded, list(request.texts), options, wait=limit is self._stream)
        return self._answers.embedded(request, loaded.name, loaded.model, result, options, started)

    async def _model(self, ref: str) -> LoadedStudent:
        if not ref:
            raise InvalidArgument(
                "model is empty; name one, such as my-student or my-student@3",
                reason="MODEL_REQUIRED",
                field="model",
            )
        return self._pool.try_get(ref) or await self._pool.get(ref)

    async def _run(
        self, loaded: LoadedStudent, texts: list[str], options: EmbedOptions, *, wait: bool
    ) -> EmbedResult:
        embedder = loaded.served
        if isinstance(embedder, TransformerEmbedder):
            return await asyncio.wrap_future(embedder.submit(texts, options, wait=wait))
        if embedder.cost(texts, options) <= INLINE_CHARACTERS:
            return embedder.embed(texts, options)
        return await to_its_end(embedder.embed, texts, options)
