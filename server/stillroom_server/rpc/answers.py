"""Results of embedding as encoded answers, counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.results import EmbedResult
from stillroom_server.observability.metrics import EmbedMetrics
from stillroom_server.rpc import embed_messages, errors
from stillroom_server.rpc.embed_messages import Request


class AnswerLimit(NamedTuple):
    """The most bytes of an answer, and the setting that says so."""

    name: str
    value: int

    def check(self, size: int) -> None:
        """Raises InvalidArgument (RESPONSE_TOO_LARGE): before anything is computed."""
        if size > self.value:
            raise InvalidArgument(
                f"the answer would have up to {size:,} bytes, over {self.name} = {self.value:,};"
                " send fewer texts a message, over the stream, or ask for less about each: fewer"
                " labels or dimensions, a smaller element type",
                reason="RESPONSE_TOO_LARGE",
                field="texts",
                metadata={
                    "bytes": str(size),
                    "limit": str(self.value),
                    "limit_name": self.name,
                },
            )


class Answers:
    """Encodes what was computed; ``clock`` as of the times that it is told."""

    def __init__(
        self, metrics: EmbedMetrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._metrics = metrics
        self.clock = clock

    def embedded(
        self,
        request: Request,
        name: str,
        model: str,
        result: EmbedResult,
        options: EmbedOptions,
        started: float,
    ) -> bytes:
        """The answer by the version ``name`` of ``model`` to a request that came at ``started``."""
        computed = self.clock()
        summary = embed_messages.summarize(result)
        answer = embed_messages.response(
            request, name, result, summary, options.element_type, computed - started
        )
        metrics, timings, tokens = self._metrics, result.timings, summary.token_counts
        metrics.seconds.observe(timings.tokenize, timings.infer, self.clock() - computed)
        metrics.embedded(model, len(tokens), sum(tokens), summary.truncated, summary.warned)
        return answer

    def item_done(self) -> None:
        """One stream item was answered well."""
        self._metrics.item("OK")

    def item_error(self, error: Exception, correlation_id: str) -> bytes:
        """The answer to a stream item that failed."""
        status = errors.to_status(error)
        self._metrics.item(errors.status_code(status).name)
        return pb.EmbedStreamResponse(
            error=status, correlation_id=correlation_id
        ).SerializeToString()
