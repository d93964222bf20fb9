"""Ways for messages to the server, as thin as gRPC allows: bytes out, bytes in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc
import grpc.aio

from stillroom._transport import channel as channels
from stillroom._transport.asynchronous import AsyncExchange
from stillroom.bench.plan import RPCS, Plan
from stillroom.connection import Connection
from stillroom.errors import DeadlineExceeded, StillroomError, Unavailable, from_rpc_error


class Lane(Protocol):
    """One connection."""

    async def ask(self, data: bytes) -> bytes:
        """Sends a message and waits for its answer; raises a StillroomError instead."""

    async def close(self) -> None:
        """Gives up what is in flight."""


@asynccontextmanager
async def connected(connection: Connection, plan: Plan) -> AsyncIterator[list[Lane]]:
    """``plan.connections`` lanes, each over a connection of its own."""
    open_channels = [_channel(connection) for _ in range(plan.connections)]
    metadata = channels.metadata(connection)
    path, target = RPCS[plan.mode].path, connection.target
    lanes: list[Lane] = []
    for channel in open_channels:
        if plan.mode == "stream":
            lanes.append(
                StreamLane(channel.stream_stream(path, None, None), target, metadata, plan.timeout)
            )
        else:
            lanes.append(
                UnaryLane(channel.unary_unary(path, None, None), target, metadata, plan.timeout)
            )
    try:
        yield lanes
    finally:
        for lane in lanes:
            await lane.close()
        for channel in open_channels:
            await channel.close(None)


def _channel(connection: Connection) -> grpc.aio.Channel:
    """A channel that retries nothing, as failures are to be counted, and shares no connection."""
    options: list[tuple[str, str | int]] = [
        *(option for option in channels.options() if option[0] != "grpc.service_config"),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    secure = channels.credentials(connection)
    if secure is None:
        return grpc.aio.insecure_channel(connection.target, options)
    return grpc.aio.secure_channel(connection.target, secure, options)


class UnaryLane:
    """A call a message."""

    def __init__(self, stub: Any, target: str, metadata: Any, timeout: float | None) -> None:
        self._stub = stub
        self._target = target
        self._options = {"timeout": timeout, "metadata": metadata}

    async def ask(self, data: bytes) -> bytes:
        try:
            answer: bytes = await self._stub(data, **self._options)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target) from None
        return answer

    async def close(self) -> None: ...


class StreamLane:
    """A stream, opened by the first message and again by the first after it broke. Answers come in
    order; what was in flight when it broke fails with what broke it."""

    def __init__(
        self,
        stub: Any,
        target: str,
        metadata: Any,
        timeout: float | None,
    ) -> None:
        self._open: Callable[[], AsyncExchange] = lambda: AsyncExchange(
            stub, target, metadata=metadata
        )
        self._timeout = timeout
        self._exchange: AsyncExchange | None = None
        self._pending: deque[tuple[float, asyncio.Future[bytes]]] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        if self._exchange is None:
            self._exchange = self._open()
            self._tasks = [loop.create_task(self._read(self._exchange))]
            if self._timeout is not None:
                self._tasks.append(loop.create_task(self._watch(self._timeout)))
        answer: asyncio.Future[bytes] = loop.create_future()
        self._pending.append((loop.time(), answer))
        await self._exchange.send(data)
        return await answer

    async def _read(self, exchange: AsyncExchange) -> None:
        try:
            while (data := await exchange.receive()) is not None:
                _, answer = self._pending.popleft()
                if not answer.done():  # its asker may have been cancelled
                    answer.set_result(data)
            raise Unavailable("the server ended the stream early", reason="STREAM_ENDED")
        except StillroomError as error:
            await self._break(error)

    async def _watch(self, most: float) -> None:
        """A stream has one deadline for all, so the oldest message is looked at now and then."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(most / 4, 1.0))
            if self._pending and loop.time() - self._pending[0][0] > most:
                late = DeadlineExceeded(f"no answer within {most:g} s", reason="TIMEOUT")
                await self._break(late)
                return

    async def _break(self, error: StillroomError | None) -> None:
        exchange, self._exchange = self._exchange, None
        tasks, self._tasks = self._tasks, []
        pending, self._pending = self._pending, deque()
        for _, answer in pending:
            if answer.done():
                continue
            if error is None:
                answer.cancel()
            else:
                answer.set_exception(error)
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if exchange is not None:
            await exchange.cancel()

    async def close(self) -> None:
        await self._break(None)
