"""From a servicer to gRPC handlers, by the descriptor of its service.

Handlers take and answer raw bytes. So parsing happens inside the error mapping, and even a
malformed message is answered with an ErrorInfo; an answer may also be bytes already (the hot path
of Embed).

A servicer has one coroutine an RPC, named like it, ``(request, call)``; one that takes a stream
gets an iterator of raw messages instead of a request. An RPC that it lacks answers UNIMPLEMENTED.
Beside a unary one it may have a plain function ``<rpc>_at_once(request)``: the encoded answer to a
request that needs nothing waited for, or None. It is asked first, and spares such requests the
coroutines.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from stillroom_registry.errors import StillroomError, Unimplemented
from stillroom_server.rpc import errors
from stillroom_server.rpc.call import Call, ServicerContext, too_large

Behavior = Callable[[Any, ServicerContext], Any]


class RequestObserver(Protocol):
    """Counts finished RPCs; see ``observability.metrics``."""

    def finished(self, method: str, code: str, seconds: float) -> None: ...
    def succeeded(self, method: str) -> Callable[[float], None]: ...
    def declare(self, method: str) -> None: ...


class Authenticator(Protocol):
    """Names the caller or raises Unauthenticated."""

    def __call__(self, context: ServicerContext) -> str: ...


class Registrar:
    """Builds the handlers of a service with one guard around each.

    ``max_request_bytes`` bounds every message that comes in, ``authenticate`` names the caller and
    ``observer`` hears of every RPC's end; ``clock`` answers seconds and never goes back.
    """

    def __init__(
        self,
        *,
        authenticate: Authenticator,
        observer: RequestObserver,
        max_request_bytes: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._authenticate = authenticate
        self._observer = observer
        self._limit = max_request_bytes
        self._clock = clock

    def handlers(
        self, service: ServiceDescriptor, servicer: object
    ) -> grpc.GenericRpcHandler[Any, Any]:
        """Handlers for every RPC of ``service``."""
        methods = {m.name: self._handler(service, m, servicer) for m in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _handler(
        self, service: ServiceDescriptor, method: MethodDescriptor, servicer: object
    ) -> grpc.RpcMethodHandler[Any, Any]:
        full_name = f"/{service.full_name}/{method.name}"
        self._observer.declare(full_name)
        implementation = getattr(servicer, method.name, None) or _unimplemented(method)
        adapt = _stream_argument if method.client_streaming else self._parsed_argument
        argument = adapt(message_factory.GetMessageClass(method.input_type))
        if method.server_streaming:
            behavior = self._stream(full_name, implementation, argument)
        else:
            at_once = getattr(servicer, f"{method.name.lower()}_at_once", _never)
            behavior = self._unary(full_name, implementation, argument, at_once)
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[method.client_streaming, method.server_streaming]
        return make(behavior)

    def _parsed_argument(self, message_class: type[Message]) -> Callable[[bytes], Message]:
        limit, from_string = self._limit, message_class.FromString

        def parsed(data: bytes) -> Message:  # call.parse, with a step less
            if len(data) > limit:
                raise too_large(data, limit)
            return from_string(data)

        return parsed

    def _unary(
        self,
        name: str,
        implementation: Callable[[Any, Call], Awaitable[Message | bytes]],
        argument: Callable[[Any], Any],
        at_once: Callable[[Any], bytes | None],
    ) -> Behavior:
        authenticate, clock = self._authenticate, self._clock
        succeeded = self._observer.succeeded(name)

        async def behavior(data: Any, context: ServicerContext) -> bytes:
            started = clock()
            try:
                actor = authenticate(context)
                request = argument(data)
                encoded = at_once(request)
                if encoded is None:
                    answer = await implementation(request, Call(context, actor))
                    encoded = answer if isinstance(answer, bytes) else answer.SerializeToString()
            except BaseException as error:
                await self._fail(name, started, error, context)
                raise  # a cancelled task; abort() itself never returns
            succeeded(clock() - started)
            return encoded

        return behavior

    def _stream(
        self,
        name: str,
        implementation: Callable[[Any, Call], AsyncIterator[Message | bytes]],
        argument: Callable[[Any], Any],
    ) -> Behavior:
        async def behavior(data: Any, context: ServicerContext) -> AsyncIterator[bytes]:
            started = self._clock()
            try:
                call = Call(context, self._authenticate(context))
                async for answer in implementation(argument(data), call):
                    yield answer if isinstance(answer, bytes) else answer.SerializeToString()
            except BaseException as error:
                await self._fail(name, started, error, context)
                raise
            self._observer.finished(name, "OK", self._clock() - started)

        return behavior

    async def _fail(
        self, name: str, started: float, error: BaseException, context: ServicerContext
    ) -> None:
        seconds = self._clock() - started
        if not isinstance(error, Exception):  # CancelledError, GeneratorExit: the caller has left
            self._observer.finished(name, "CANCELLED", seconds)
            return
        status = errors.to_status(error)
        code = errors.status_code(status)
        self._observer.finished(name, code.name, seconds)
        await context.abort(code, status.message, errors.trailers(status))


def _never(_: Any) -> None:
    """Nothing is answered at once."""


def _stream_argument(_: type[Message]) -> Callable[[Any], Any]:
    return lambda messages: messages


def _unimplemented(method: MethodDescriptor) -> Callable[[Any, Call], Any]:
    async def unary(_request: Any, _call: Call) -> Message:
        raise not_implemented(method.full_name)

    async def stream(_request: Any, _call: Call) -> AsyncIterator[Message]:
        raise not_implemented(method.full_name)
        yield  # type: ignore[unreachable]  # makes this an async generator

    return stream if method.server_streaming else unary


def not_implemented(method: str) -> StillroomError:
    """The error of an RPC that the protocol has and this server does not, yet."""
    return Unimplemented(
        f"{method} is part of the protocol but not of this server's version",
        reason="RPC_NOT_IMPLEMENTED",
        metadata={"rpc": method},
    )
