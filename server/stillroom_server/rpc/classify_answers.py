"""Results of classifying as encoded answers, counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_server.inference.classifier.classified import Classified
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.plans import ClassifyPlan
from stillroom_server.inference.registry_models import LoadedClassifier
from stillroom_server.observability.metrics import ClassifyMetrics
from stillroom_server.rpc import classify_messages, errors
from stillroom_server.rpc.classify_messages import Labels, Request


class ClassifyAnswers:
    """Encodes what was computed; ``clock`` as of the times that it is told. For the event loop's
    thread only."""

    def __init__(
        self, metrics: ClassifyMetrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._metrics = metrics
        self._labels: WeakKeyDictionary[Classifier, Labels] = WeakKeyDictionary()
        self._timings = pb.ClassifyTimings()
        self.clock = clock

    def labels(self, classifier: Classifier) -> Labels:
        """Its labels, encoded once."""
        labels = self._labels.get(classifier)
        if labels is None:
            labels = self._labels[classifier] = Labels(classifier.labels)
        return labels

    def classified(
        self,
        request: Request,
        loaded: LoadedClassifier,
        result: Classified,
        how: ClassifyPlan,
        started: float,
    ) -> bytes:
        """The answer by ``loaded`` to a request that came at ``started``."""
        computed = self.clock()
        labels = self.labels(loaded.served)
        summary = classify_messages.summarize(result)
        answer = classify_messages.response(
            request, loaded.name, result, labels, summary, how.element_type, computed - started
        )
        metrics, timings = self._metrics, result.timings
        serialize = self.clock() - computed
        metrics.seconds.observe(timings.tokenize, timings.infer, timings.head, serialize)
        metrics.classified(loaded.model, *summary)
        return answer

    def one(self, request: Request, loaded: LoadedClassifier, most_bytes: int) -> bytes | None:
        """The answer to a plain request (``one_text.Plain``) of at most ``most_bytes``; None: the
        general way decides."""
        classify_one = loaded.served.classify_one
        if classify_one is None:
            return None
        labels = self.labels(loaded.served)
        if labels.one_answer_bytes > most_bytes:
            return None
        found = classify_one(request.texts[0])
        if found is None:
            return None
        answer = classify_messages.one_response(
            loaded.name, found, labels, request.correlation_id, self._timings
        )
        metrics = self._metrics
        serialize = self.clock() - found.end
        metrics.seconds.observe(found.tokenize, found.infer, found.head, serialize)
        metrics.one_classified(loaded.model, found.tokens, found.abstained)
        return answer

    def item_done(self) -> None:
        """One stream item was answered well."""
        self._metrics.item("OK")

    def item_error(self, error: Exception, correlation_id: str) -> bytes:
        """The answer to a stream item that failed."""
        status = errors.to_status(error)
        self._metrics.item(errors.status_code(status).name)
        return pb.ClassifyStreamResponse(
            error=status, correlation_id=correlation_id
        ).SerializeToString()
