"""A gRPC server that does what a test scripts, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from stillroom._transport.asynchronous import AsyncTransport
from stillroom._transport.blocking import BlockingTransport
from stillroom.connection import resolve
from stillroom.v1 import classification_service_pb2 as classification
from stillroom.v1 import embedding_service_pb2 as embedding

Behavior = Callable[[Any, grpc.ServicerContext], Any]
EMBED = "stillroom.v1.EmbeddingService/Embed"
EMBED_STREAM = "stillroom.v1.EmbeddingService/EmbedStream"
CLASSIFY = "stillroom.v1.ClassificationService/Classify"
CLASSIFY_STREAM = "stillroom.v1.ClassificationService/ClassifyStream"
TRAIN = "stillroom.v1.ClassificationService/TrainClassifier"
EVALUATE = "stillroom.v1.ClassificationService/EvaluateClassifier"
SERVER_INFO = "stillroom.v1.ServerService/GetServerInfo"


class FakeServer(grpc.GenericRpcHandler):
    """``on("service/Method", behavior)``: a behavior gets the parsed request (an iterator of them
    when the client streams) and the context, and answers a message (or yields them)."""

    def __init__(self) -> None:
        self._behaviors: dict[str, Behavior] = {}
        self.calls: list[str] = []
        self.requests: list[Message] = []
        self.metadata: dict[str, Any] = {}
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8),
            handlers=[self],
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
        )
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def on(self, path: str, behavior: Behavior) -> None:
        """Scripts the method; whatever is not scripted is UNIMPLEMENTED."""
        self._behaviors[f"/{path}"] = behavior

    def answer(self, path: str, message: Message) -> None:
        """Scripts the method to answer ``message`` each time."""
        self.on(path, lambda request, context: message)

    def stop(self) -> None:
        self._server.stop(None)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        behavior = self._behaviors.get(details.method)
        self.calls.append(details.method[1:])
        if behavior is None:
            return None
        service, method = details.method[1:].split("/")
        found = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
        request_class = message_factory.GetMessageClass(found.input_type)

        def parsed(data: bytes) -> Message:
            request = request_class.FromString(data)
            self.requests.append(request)
            return request

        def run(request: Any, context: grpc.ServicerContext) -> Any:
            self.metadata = dict(context.invocation_metadata())
            return behavior(request, context)

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[found.client_streaming, found.server_streaming]
        return make(run, parsed, lambda message: message.SerializeToString())


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A running FakeServer on a free port."""
    server = FakeServer()
    try:
        yield server
    finally:
        server.stop()


class _Patient:
    """Remembers pauses instead of taking them."""

    def __init__(self, target: str) -> None:
        connection = resolve(
            target,
            token=None,
            tls=None,
            root_certificates=None,
            client_certificate=None,
            client_key=None,
            allow_insecure=False,
            environment={},
        )
        super().__init__(connection)  # type: ignore[call-arg]
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


class PatientTransport(_Patient, BlockingTransport):
    """A blocking transport whose pauses cost nothing."""


class PatientAsyncTransport(_Patient, AsyncTransport):
    """An asyncio transport whose pauses cost nothing."""


def status(
    code: int,
    message: str = "no",
    *,
    reason: str = "A_REASON",
    field: str | None = None,
    retry_after: float | None = None,
    **metadata: str,
) -> status_pb2.Status:
    """A google.rpc.Status with details, as the server makes them."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=reason, domain="stillroom", metadata=metadata)
    ]
    if field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(retry_after * 1e9))
        details.append(retry)
    result = status_pb2.Status(code=code, message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        result.details.append(packed)
    return result


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def fail(context: grpc.ServicerContext, error: status_pb2.Status, *, again: bool = True) -> None:
    """Ends the call with ``error``; with ``again`` False gRPC itself is told not to retry."""
    trailers: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", error.SerializeToString())
    ]
    if not again:
        trailers.append(("grpc-retry-pushback-ms", "-1"))
    context.set_trailing_metadata(trailers)
    context.abort(_CODES[error.code], error.message)


def vector(text: str) -> list[float]:
    """The two numbers that the fake embeds a text as."""
    return [float(len(text)), float(sum(map(ord, text)) % 1000)]


def embeddings(texts: list[str], version: str = "models/fake/versions/1") -> embedding.Embeddings:
    """What the fake answers for ``texts``."""
    values = [number for text in texts for number in vector(text)]
    block = embedding.FloatBlock(values=values)
    return embedding.Embeddings(
        model_version=version,
        vectors=embedding.Vectors(count=len(texts), dimensions=2, float32=block),
        token_counts=[len(text.split()) for text in texts],
    )


def embed(request: embedding.EmbedRequest, context: Any) -> embedding.EmbedResponse:
    """Embed as a good server does it."""
    return embedding.EmbedResponse(
        embeddings=embeddings(list(request.texts)), correlation_id=request.correlation_id
    )


def stream_answer(request: embedding.EmbedStreamRequest) -> embedding.EmbedStreamResponse:
    """One good answer of the stream."""
    return embedding.EmbedStreamResponse(
        embeddings=embeddings(list(request.texts)), correlation_id=request.correlation_id
    )


def embed_stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    """EmbedStream as a good server does it."""
    for request in requests:
        yield stream_answer(request)


def classifications(
    texts: list[str], top_k: int = 1, version: str = "models/fake/versions/1"
) -> classification.Classifications:
    """What the fake answers for ``texts``: "even" or "odd", by their length. It is unsure of
    texts with a question mark. The labels that it names differ from answer to answer, as those of
    a good server may."""
    best = ["odd" if len(text) % 2 else "even" for text in texts]
    names = ["even", "odd"] if top_k > 1 else sorted(set(best))
    answer = classification.Classifications(model_version=version, labels=names)
    for text, label in zip(texts, best, strict=True):
        given = sorted(names, key=lambda name: name != label)[:top_k]
        answer.label_counts.append(len(given))
        answer.label_indices.extend(names.index(name) for name in given)
        answer.probabilities.extend([0.75, 0.25][: len(given)])
        answer.confidences.append(0.25 if "?" in text else 0.75)
        answer.token_counts.append(len(text.split()))
    if any("?" in text for text in texts):
        answer.abstained.extend("?" in text for text in texts)
    return answer


def classify(request: classification.ClassifyRequest, context: Any) -> Message:
    """Classify as a good server does it."""
    return classification.ClassifyResponse(
        classifications=classifications(list(request.texts), request.options.top_k or 1),
        correlation_id=request.correlation_id,
    )


def classify_answer(request: classification.ClassifyStreamRequest) -> Message:
    """One good answer of the stream."""
    return classification.ClassifyStreamResponse(
        classifications=classifications(list(request.texts), request.options.top_k or 1),
        correlation_id=request.correlation_id,
    )


def classify_stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    """ClassifyStream as a good server does it."""
    yield from map(classify_answer, requests)


class FlakyStream:
    """A stream that breaks after ``lives`` answers each time, as often as there are lives."""

    def __init__(self, *lives: int, answer: Callable[[Any], Message] = stream_answer) -> None:
        self._lives = list(lives)
        self._answer = answer
        self._lock = threading.Lock()
        self.opened = 0

    def __call__(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        with self._lock:
            self.opened += 1
            left = self._lives.pop(0) if self._lives else None
        for request in requests:
            if left == 0:
                fail(context, status(code_pb2.UNAVAILABLE, "stopping", retry_after=0.25))
            yield self._answer(request)
            left = None if left is None else left - 1
