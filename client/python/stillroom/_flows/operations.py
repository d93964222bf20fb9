"""Long-running operations: what they are and how they end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.longrunning import operations_pb2 as lro
from google.protobuf.message import Message

from stillroom._core import Core
from stillroom._protocol import rpcs
from stillroom._protocol.messages import build
from stillroom.errors import DeadlineExceeded, Internal, InvalidArgument, Unavailable
from stillroom.snapshots import OperationSnapshot, Started
from stillroom.v1 import operation_service_pb2 as pb


async def get_operation(core: Core, name: str) -> Started[Message]:
    """The operation ``operations/{id}``. NotFound when it is unknown."""
    request = build(lro.GetOperationRequest, name=name)
    return Started(core, await core.call(rpcs.GET_OPERATION, request))


async def list_operations(
    core: Core,
    *,
    kind: str | None = None,
    state: str | None = None,
    page_size: int | None = None,
) -> AsyncGenerator[OperationSnapshot, None]:
    """Yields the operations, newest first, page after page. ``kind`` is such as "distill" or
    "import", ``state`` one of pending, running, succeeded, failed and cancelled."""
    terms = {"kind": kind, "state": state}
    request = build(
        lro.ListOperationsRequest,
        name="operations",
        filter=" AND ".join(f"{key}={value}" for key, value in terms.items() if value),
        page_size=page_size,
    )
    async for page in core.pages(rpcs.LIST_OPERATIONS, request):
        for operation in page.operations:
            yield OperationSnapshot(operation)


async def cancel_operation(core: Core, name: str) -> None:
    """Asks an operation to stop. It may still succeed if it is past the point of no return."""
    await core.call(rpcs.CANCEL_OPERATION, build(lro.CancelOperationRequest, name=name))


async def delete_operation(core: Core, name: str) -> None:
    """Forgets an operation that is done; FailedPrecondition while it is not."""
    await core.call(rpcs.DELETE_OPERATION, build(lro.DeleteOperationRequest, name=name))


async def wait_operation(
    core: Core, name: str, *, seconds: float | None = None
) -> OperationSnapshot:
    """Waits on the server until the operation is done or ``seconds`` are over, whichever is first,
    and answers it as it then is."""
    request = build(lro.WaitOperationRequest, name=name)
    if seconds is not None:
        if seconds < 0:
            raise InvalidArgument("seconds must not be negative", field="seconds")
        request.timeout.FromNanoseconds(round(seconds * 1e9))
    return OperationSnapshot(await core.transport.unary(rpcs.WAIT_OPERATION, request, None))


async def watch_operation(
    core: Core, name: str, *, seconds: float | None = None
) -> AsyncGenerator[OperationSnapshot, None]:
    """Yields an operation now and after every change until it is done.

    A server that restarts meanwhile is watched again. DeadlineExceeded after ``seconds``; the
    operation goes on. How it ended is in the last snapshot: this raises nothing for it.
    """
    request = build(pb.WatchOperationRequest, name=name)
    deadline = core.deadline(seconds)
    backoff = core.backoff()
    while True:
        try:
            answers = core.transport.receive(rpcs.WATCH_OPERATION, request, deadline.remaining())
            async with aclosing(answers):
                async for answer in answers:
                    backoff.progressed()
                    snapshot = OperationSnapshot(answer.operation)
                    yield snapshot
                    if snapshot.done:
                        return
            raise Unavailable(f"the server stopped watching {name}", reason="STREAM_ENDED")
        except Unavailable as error:
            await core.transport.sleep(backoff.pause(error))
        except DeadlineExceeded:
            raise DeadlineExceeded(
                f"{name} was not done after {seconds:g} s; it goes on",
                reason="WAIT_TIMEOUT",
                metadata={"operation": name},
            ) from None


async def final(core: Core, name: str, seconds: float | None) -> OperationSnapshot:
    """The operation when it is done; see ``watch_operation``."""
    async with aclosing(watch_operation(core, name, seconds=seconds)) as snapshots:
        async for snapshot in snapshots:
            if snapshot.done:
                return snapshot
    raise Internal(f"the watch of {name} ended before it was done", reason="STREAM_ENDED")
