"""The transport of Client: every coroutine here has finished when it returns."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import grpc

from stillroom._protocol.rpcs import A, Q, Rpc
from stillroom._transport import channel as channels
from stillroom.connection import Connection
from stillroom.errors import FailedPrecondition, from_rpc_error

P = ParamSpec("P")
R = TypeVar("R")


class BlockingExchange:
    """A stream whose requests wait in a queue, which gRPC's own thread empties."""

    def __init__(self, stub: Any, target: str, **options: Any) -> None:
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._target = target
        self._call = stub(iter(self._outbox.get, None), **options)

    async def send(self, data: bytes) -> None:
        self._outbox.put(data)

    async def finish(self) -> None:
        self._outbox.put(None)

    async def receive(self) -> bytes | None:
        try:
            answer: bytes | None = next(self._call, None)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target) from None
        return answer

    async def cancel(self) -> None:
        self._outbox.put(None)  # or gRPC's thread would wait for it forever
        self._call.cancel()


class BlockingTransport:
    """Transport over a grpc.Channel. Safe to use from several threads at once."""

    def __init__(self, connection: Connection) -> None:
        secure = channels.credentials(connection)
        options = channels.options()
        self._target = connection.target
        self._metadata = channels.metadata(connection)
        self._channel = (
            grpc.insecure_channel(self._target, options)
            if secure is None
            else grpc.secure_channel(self._target, secure, options)
        )
        self._stubs: dict[Rpc[Any, Any], Any] = {}
        self._closed = False

    @property
    def target(self) -> str:
        return self._target

    async def unary(self, rpc: Rpc[Q, A], request: Q, seconds: float | None) -> A:
        stub = self._stub(rpc, self._channel.unary_unary)
        try:
            data = stub(request.SerializeToString(), timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target) from None
        return rpc.parse(data)

    async def receive(
        self, rpc: Rpc[Q, A], request: Q, seconds: float | None
    ) -> AsyncGenerator[A, None]:
        stub = self._stub(rpc, self._channel.unary_stream)
        call = stub(request.SerializeToString(), timeout=seconds, metadata=self._metadata)
        try:
            for data in call:
                yield rpc.parse(data)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target) from None
        finally:
            call.cancel()

    async def send(
        self,
        rpc: Rpc[Q, A],
        requests: Iterator[Q],
        opened: Callable[[Mapping[str, str]], None],
    ) -> A:
        stub = self._stub(rpc, self._channel.stream_unary)
        call = stub.future(
            (request.SerializeToString() for request in requests), metadata=self._metadata
        )
        try:
            opened(dict(call.initial_metadata() or ()))
            return rpc.parse(call.result())
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target) from None
        finally:
            call.cancel()

    def exchange(self, rpc: Rpc[Q, A], seconds: float | None) -> BlockingExchange:
        stub = self._stub(rpc, self._channel.stream_stream)
        return BlockingExchange(stub, self._target, timeout=seconds, metadata=self._metadata)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - this transport is the one that blocks

    async def offload(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    async def close(self) -> None:
        self._closed = True
        self._channel.close()

    def _stub(self, rpc: Rpc[Any, Any], make: Callable[..., Any]) -> Any:
        if self._closed:
            raise closed_error()
        stub = self._stubs.get(rpc)
        if stub is None:
            stub = self._stubs[rpc] = make(rpc.path, None, None)
        return stub


def closed_error() -> FailedPrecondition:
    """The error of a call on a client that was closed."""
    return FailedPrecondition(
        "this client is closed; make another one, or call inside its `with` block",
        reason="CLIENT_CLOSED",
    )
