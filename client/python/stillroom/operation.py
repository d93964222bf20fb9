"""Long work as a future: handles on operations of the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from google.protobuf.message import Message

from stillroom._faces import AsyncFace, BlockingFace, Flow, Method, Stream, run
from stillroom._flows import operations as flows
from stillroom.snapshots import OperationSnapshot, Started
from stillroom.v1 import operation_service_pb2 as pb

P = ParamSpec("P")
M = TypeVar("M", bound=Message)


async def _refresh(handle: _Handle) -> None:
    """Asks the server how the operation stands."""
    handle.update((await flows.get_operation(handle.core, handle.name)).message)


async def _cancel(handle: _Handle) -> None:
    """Asks the operation to stop; ``result`` then raises Cancelled, unless it was too late."""
    await flows.cancel_operation(handle.core, handle.name)


async def _delete(handle: _Handle) -> None:
    """Forgets the operation, which must be done."""
    await flows.delete_operation(handle.core, handle.name)


async def _watch(
    handle: _Handle,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - handed to the server
) -> AsyncGenerator[OperationSnapshot, None]:
    """Yields the operation now and after every change until it is done, and keeps this handle up to
    date. DeadlineExceeded after ``timeout`` seconds; the operation goes on."""
    async with aclosing(
        flows.watch_operation(handle.core, handle.name, seconds=timeout)
    ) as snapshots:
        async for snapshot in snapshots:
            handle.update(snapshot.message)
            yield snapshot


async def _progress(
    handle: _Handle,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - handed to the server
) -> AsyncGenerator[pb.OperationProgress, None]:
    """Yields how far the operation is, after every change, until it is done: ``phase``, ``done``,
    ``total``, ``unit``, ``fraction`` of the whole. Ask ``result`` how it ended."""
    async with aclosing(_watch(handle, timeout=timeout)) as snapshots:
        async for snapshot in snapshots:
            progress = snapshot.latest_progress
            if progress is not None:
                yield progress


async def _result(handle: _Handle, seconds: float | None) -> Message:
    if not handle.done:
        handle.update((await flows.final(handle.core, handle.name, seconds)).message)
    return handle.response()


class _Handle(OperationSnapshot):
    """What both kinds of handle share. It shows what was last heard; ``refresh`` asks again."""

    def __init__(self, started: Started[Any]) -> None:
        super().__init__(started.message)
        self.core = started.core
        self._subject = self

    def update(self, message: Any) -> None:
        """Takes over a newer state."""
        OperationSnapshot.__init__(self, message)

    refresh = Method(_refresh)
    cancel = Method(_cancel)
    delete = Method(_delete)
    watch = Stream(_watch)
    progress = Stream(_progress)


class Operation(_Handle, BlockingFace, Generic[M]):
    """A handle on an operation, for ``Client``."""

    def result(self, timeout: float | None = None) -> M:
        """Waits until it is done, at most ``timeout`` seconds, and answers its response.

        Raises what ended it (Cancelled when it was cancelled), and DeadlineExceeded with reason
        WAIT_TIMEOUT when it goes on.
        """
        return cast(M, run(_result(self, timeout)))


class AsyncOperation(_Handle, AsyncFace, Generic[M]):
    """A handle on an operation, for ``AsyncClient``."""

    async def result(self, timeout: float | None = None) -> M:  # noqa: ASYNC109 - as above
        """See ``Operation.result``."""
        return cast(M, await _result(self, timeout))


class Starter(Flow[P], Generic[P, M]):
    """A flow that starts an operation; each face answers its own handle."""

    def __init__(
        self, flow: Callable[Concatenate[Any, P], Coroutine[Any, Any, Started[M]]]
    ) -> None:
        super().__init__(flow)

    @staticmethod
    def finish(flow: Coroutine[Any, Any, Started[M]]) -> Operation[M]:
        """The blocking handle."""
        return Operation(run(flow))

    @staticmethod
    async def finish_async(flow: Coroutine[Any, Any, Started[M]]) -> AsyncOperation[M]:
        """The asyncio handle."""
        return AsyncOperation(await flow)

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: BlockingFace, owner: type) -> Callable[P, Operation[M]]: ...
    @overload
    def __get__(
        self, face: AsyncFace, owner: type
    ) -> Callable[P, Coroutine[Any, Any, AsyncOperation[M]]]: ...
    def __get__(self, face: Any, owner: type) -> Any:
        return super().__get__(face, owner)
