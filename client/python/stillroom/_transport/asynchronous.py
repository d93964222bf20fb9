"""The transport of AsyncClient, over grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import grpc
import grpc.aio

from stillroom._protocol.rpcs import A, Q, Rpc
from stillroom._transport import channel as channels
from stillroom._transport.blocking import closed_error
from stillroom.connection import Connection
from stillroom.errors import Internal, StillroomError, Unavailable, from_rpc_error

_END: Any = vars(grpc.aio)["EOF"]  # the stubs lack it

P = ParamSpec("P")
R = TypeVar("R")


# What grpc.aio makes of a stream that ended while a request was being written, without waiting for
# the status that the server sent.
_BROKEN_WHILE_WRITING = "Internal error from Core"


def _translated(error: grpc.RpcError, target: str) -> StillroomError:
    found = from_rpc_error(error, target)
    if isinstance(found, Internal) and found.message == _BROKEN_WHILE_WRITING:
        return Unavailable("the stream broke while it was written", reason="STREAM_BROKEN")
    return found


class AsyncExchange:
    """A stream whose requests wait in a queue, which gRPC's own task empties."""

    def __init__(self, stub: Any, target: str, **options: Any) -> None:
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._target = target
        self._call = stub(self._requests(), **options)

    async def _requests(self) -> AsyncIterator[bytes]:
        while (data := await self._outbox.get()) is not None:
            yield data

    async def send(self, data: bytes) -> None:
        self._outbox.put_nowait(data)

    async def finish(self) -> None:
        self._outbox.put_nowait(None)

    async def receive(self) -> bytes | None:
        try:
            answer = await self._call.read()
        except grpc.RpcError as error:
            raise _translated(error, self._target) from None
        return None if answer is _END else answer

    async def cancel(self) -> None:
        self._call.cancel()


class AsyncTransport:
    """Transport over a grpc.aio.Channel, which is opened by the first call, in its event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._target = connection.target
        self._metadata = channels.metadata(connection)
        self._channel: grpc.aio.Channel | None = None
        self._stubs: dict[Rpc[Any, Any], Any] = {}
        self._closed = False

    @property
    def target(self) -> str:
        return self._target

    async def unary(self, rpc: Rpc[Q, A], request: Q, seconds: float | None) -> A:
        stub = self._stub(rpc, "unary_unary")
        try:
            data = await stub(request.SerializeToString(), timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _translated(error, self._target) from None
        return rpc.parse(data)

    async def receive(
        self, rpc: Rpc[Q, A], request: Q, seconds: float | None
    ) -> AsyncGenerator[A, None]:
        stub = self._stub(rpc, "unary_stream")
        call = stub(request.SerializeToString(), timeout=seconds, metadata=self._metadata)
        try:
            async for data in call:
                yield rpc.parse(data)
        except grpc.RpcError as error:
            raise _translated(error, self._target) from None
        finally:
            call.cancel()

    async def send(
        self,
        rpc: Rpc[Q, A],
        requests: Iterator[Q],
        opened: Callable[[Mapping[str, str]], None],
    ) -> A:
        stub = self._stub(rpc, "stream_unary")
        call = stub(self._serialized(requests), metadata=self._metadata)
        try:
            opened({k: v for k, v in await call.initial_metadata() if isinstance(v, str)})
            return rpc.parse(await call)
        except grpc.RpcError as error:
            raise _translated(error, self._target) from None
        finally:
            call.cancel()

    async def _serialized(self, requests: Iterator[Q]) -> AsyncIterator[bytes]:
        while (request := await asyncio.to_thread(next, requests, None)) is not None:
            yield request.SerializeToString()

    def exchange(self, rpc: Rpc[Q, A], seconds: float | None) -> AsyncExchange:
        stub = self._stub(rpc, "stream_stream")
        return AsyncExchange(stub, self._target, timeout=seconds, metadata=self._metadata)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def offload(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def close(self) -> None:
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)

    def _stub(self, rpc: Rpc[Any, Any], kind: str) -> Any:
        if self._closed:
            raise closed_error()
        stub = self._stubs.get(rpc)
        if stub is None:
            stub = self._stubs[rpc] = getattr(self._open(), kind)(rpc.path, None, None)
        return stub

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            secure = channels.credentials(self._connection)
            options = channels.options()
            self._channel = (
                grpc.aio.insecure_channel(self._target, options)
                if secure is None
                else grpc.aio.secure_channel(self._target, secure, options)
            )
        return self._channel
