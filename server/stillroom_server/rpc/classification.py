"""ClassificationService: texts to labels, by unary and by stream, and what trains classifiers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

from google.longrunning import operations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_registry.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StillroomError,
)
from stillroom_registry.registry import Registry
from stillroom_server.inference.classifier.classified import Classified
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.plans import ClassifyPlan
from stillroom_server.inference.registry_models import ClassifierPool, LoadedClassifier
from stillroom_server.observability.metrics import ClassifyMetrics
from stillroom_server.rpc import classify_messages, embed_messages
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.answers import AnswerLimit
from stillroom_server.rpc.call import Call, parse, to_its_end
from stillroom_server.rpc.classifier_operations import ClassifierOperations
from stillroom_server.rpc.classify_answers import ClassifyAnswers
from stillroom_server.rpc.classify_messages import Request
from stillroom_server.rpc.embedding import INLINE_CHARACTERS
from stillroom_server.rpc.one_text import Plain
from stillroom_server.rpc.pipeline import Joint, Pending, Started, in_order
from stillroom_server.settings import Settings
from stillroom_server.teachers.teachers import Teachers

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["ClassificationService"]
# Scores of a large answer, by the head of a classifier on a teacher: beyond it the event loop would
# be held for longer than about 10 ms.
_INLINE_SCORES = 1 << 20


class _Item(NamedTuple):
    """A checked item of a stream; ``started`` is when it came."""

    request: pb.ClassifyStreamRequest
    loaded: LoadedClassifier
    texts: list[str]
    how: ClassifyPlan
    started: float


class ClassificationServicer:
    """Classifies on whatever the pool has loaded, by vectors of teachers too."""

    def __init__(
        self,
        operations: ClassifierOperations,
        pool: ClassifierPool,
        teachers: Teachers,
        registry: Registry,
        settings: Settings,
        metrics: ClassifyMetrics,
        admission: Admission,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._operations = operations
        self._pool = pool
        self._teachers = teachers
        self._registry = registry
        self._settings = settings
        self._admission = admission
        self._answers = ClassifyAnswers(metrics, clock)
        self._is_plain = Plain(settings)
        self._unary = AnswerLimit("max_response_bytes", settings.max_response_bytes)
        self._stream = AnswerLimit("max_stream_bytes", settings.max_stream_bytes)

    async def TrainClassifier(
        self, request: pb.TrainClassifierRequest, call: Call
    ) -> operations_pb2.Operation:
        return await self._operations.train(request, call.seconds_left())

    async def EvaluateClassifier(
        self, request: pb.EvaluateClassifierRequest, call: Call
    ) -> operations_pb2.Operation:
        return await self._operations.evaluate(request)

    async def Classify(self, request: pb.ClassifyRequest, call: Call) -> bytes:
        with self._admission.request():
            return await self._classify(request, request.model, self._unary, call)

    def classify_at_once(self, request: pb.ClassifyRequest) -> bytes | None:
        """The answer about one short text, if the classifier is in memory."""
        if self._admission.request.is_full:
            return None
        try:
            return self._plain(request, request.model, self._unary)
        except StillroomError:
            return None  # the general way words it

    async def ClassifyStream(
        self, requests: AsyncIterator[bytes], call: Call
    ) -> AsyncIterator[bytes]:
        model = ""

        async def start(data: bytes) -> Started:
            nonlocal model
            correlation_id = ""
            try:
                request = parse(pb.ClassifyStreamRequest, data, self._settings.max_request_bytes)
                correlation_id = request.correlation_id
                model = request.model or model
                ready = self._pool.try_get(model) if model else None
                if ready is not None and (ready.served.needs_lanes or ready.served.needs_teacher):
                    return self._later(request, model, ready, call)
                answer = self._plain(request, model, self._stream, ready)
                if answer is None:
                    joint = None if ready is None else self._joint(request, ready, len(data))
                    if joint is not None:
                        return joint
                    answer = await self._classify(request, model, self._stream, call, ready)
            except Exception as error:
                return self._answers.item_error(error, correlation_id)
            self._answers.item_done()
            return answer

        window, most = self._settings.max_stream_window, self._stream.value
        with self._admission.stream():
            answers = in_order(
                aiter(requests),
                start,
                window=window,
                max_bytes=most,
                finish=self._together,
                max_cost=INLINE_CHARACTERS,
            )
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield answer

    def _joint(
        self, request: pb.ClassifyStreamRequest, ready: LoadedClassifier, message_bytes: int
    ) -> Joint | None:
        """Several texts for a static student, as few as the event loop does itself."""
        texts = list(request.texts)
        cost = ready.served.cost(texts)
        if len(texts) < 2 or cost > INLINE_CHARACTERS:
            return None
        started = self._answers.clock()
        embed_messages.check(request, self._settings, message_bytes)
        how = ready.served.plan(classify_messages.options(request))
        size = self._most_bytes(len(texts), ready.served, how)
        self._stream.check(size)
        return Joint(_Item(request, ready, texts, how, started), cost, size)

    def _together(self, items: list[_Item]) -> list[bytes]:
        """Their answers; errors of single ones are theirs alone."""
        first = items[0]
        results: list[Classified | None] = [None] * len(items)
        if all(
            each.loaded is first.loaded and each.request.options == first.request.options
            for each in items
        ):
            with contextlib.suppress(Exception):  # which it is turns out below
                texts = [each.texts for each in items]
                results[:] = first.loaded.served.classify_together(texts, first.how)
        return [self._answered(*each) for each in zip(items, results, strict=True)]

    def _answered(self, item: _Item, result: Classified | None) -> bytes:
        try:
            result = result or item.loaded.served.classify(item.texts, item.how)
            answer = self._answers.classified(
                item.request, item.loaded, result, item.how, item.started
            )
        except Exception as error:
            return self._answers.item_error(error, item.request.correlation_id)
        self._answers.item_done()
        return answer

    def _later(
        self, request: pb.ClassifyStreamRequest, model: str, ready: LoadedClassifier, call: Call
    ) -> Pending:
        """An item that takes long enough to read further ones meanwhile."""
        how = ready.served.plan(classify_messages.options(request))
        size = self._most_bytes(len(request.texts), ready.served, how)
        return Pending(asyncio.create_task(self._item(request, model, ready, call)), size)

    async def _item(
        self, request: pb.ClassifyStreamRequest, model: str, ready: LoadedClassifier, call: Call
    ) -> bytes:
        try:
            answer = await self._classify(request, model, self._stream, call, ready)
        except Exception as error:
            return self._answers.item_error(error, request.correlation_id)
        self._answers.item_done()
        return answer

    def _plain(
        self,
        request: Request,
        model: str,
        limit: AnswerLimit,
        ready: LoadedClassifier | None = None,
    ) -> bytes | None:
        if not model or not self._is_plain(request):
            return None
        ready = ready or self._pool.try_get(model)
        return None if ready is None else self._answers.one(request, ready, limit.value)

    async def _classify(
        self,
        request: Request,
        model: str,
        limit: AnswerLimit,
        call: Call,
        ready: LoadedClassifier | None = None,
    ) -> bytes:
        """``ready``: what ``model`` means, where that was asked already."""
        started = self._answers.clock()
        embed_messages.check(request, self._settings)
        options = classify_messages.options(request)
        loaded = ready or await self._model(model)
        how = loaded.served.plan(options)
        limit.check(self._most_bytes(len(request.texts), loaded.served, how))
        wait, texts = limit is self._stream, list(request.texts)
        if loaded.served.needs_teacher:
            result = await self._by_teacher(loaded.served, texts, how, call, wait=wait)
        else:
            result = await self._run(loaded.served, texts, how, wait=wait)
        return self._answers.classified(request, loaded, result, how, started)

    def _most_bytes(self, texts: int, classifier: Classifier, how: ClassifyPlan) -> int:
        labels = self._answers.labels(classifier)
        return classify_messages.answer_bytes(texts, labels, classifier.dimensions, how)

    async def _model(self, ref: str) -> LoadedClassifier:
        if not ref:
            raise InvalidArgument(
                "model is empty; name a classifier, such as my-classifier or my-classifier@3",
                reason="MODEL_REQUIRED",
                field="model",
            )
        return self._pool.try_get(ref) or await self._pool.get(ref)

    async def _run(
        self, classifier: Classifier, texts: list[str], how: ClassifyPlan, *, wait: bool
    ) -> Classified:
        if classifier.needs_lanes:
            return await asyncio.wrap_future(classifier.submit(texts, how, wait=wait))
        if classifier.cost(texts) <= INLINE_CHARACTERS:
            return classifier.classify(texts, how)
        return await to_its_end(classifier.classify, texts, how)

    async def _by_teacher(
        self, classifier: Classifier, texts: list[str], how: ClassifyPlan, call: Call, *, wait: bool
    ) -> Classified:
        try:
            version = self._registry.resolve(classifier.encoder_version)
        except NotFound as gone:
            raise FailedPrecondition(
                f"the teacher {classifier.encoder_version} was deleted, and this classifier reads"
                " its vectors; train one on another encoder, a student best: it keeps all it needs",
                reason="ENCODER_DELETED",
                field="model",
                metadata={"encoder_version": classifier.encoder_version},
            ) from gone
        teacher = await self._teachers.get(version, call.seconds_left())
        plan = teacher.validate(how.encoding)
        embedded = await self._teachers.embed(
            teacher, texts, plan, seconds=call.seconds_left(), wait=wait
        )
        classify = partial(classifier.classify_vectors, embedded, how)
        if len(texts) * (len(classifier.labels) + classifier.dimensions) <= _INLINE_SCORES:
            return classify()
        return await to_its_end(classify)
