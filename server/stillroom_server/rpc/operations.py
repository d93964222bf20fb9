"""google.longrunning.Operations and OperationService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import operation_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_server.operations.model import Operation, OperationState
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.watch import OperationWatcher
from stillroom_server.rpc.call import Call, in_thread
from stillroom_server.rpc.operation_messages import OperationMessages

LONGRUNNING: ServiceDescriptor = operations_pb2.DESCRIPTOR.services_by_name["Operations"]
DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["OperationService"]
PREFIX = "operations/"
_LONGEST_WAIT_SECONDS = 3600.0


class OperationServicer:
    """Serves both services: they differ in what they are asked, not in what they know."""

    def __init__(
        self, store: OperationStore, watcher: OperationWatcher, messages: OperationMessages
    ) -> None:
        self._store = store
        self._watcher = watcher
        self._messages = messages

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, call: Call
    ) -> operations_pb2.Operation:
        return await self._message(await in_thread(self._store.get, operation_id(request.name)))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, call: Call
    ) -> operations_pb2.ListOperationsResponse:
        if request.name not in ("", "operations"):
            raise InvalidArgument(
                "operations have no parent here: leave name empty or say 'operations'", field="name"
            )
        kind, state = parse_filter(request.filter)
        page = await in_thread(
            self._store.list,
            request.page_size,
            request.page_token,
            state=state,
            kind=kind,
        )
        return operations_pb2.ListOperationsResponse(
            operations=[await self._message(item) for item in page.items],
            next_page_token=page.next_page_token,
        )

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, call: Call
    ) -> empty_pb2.Empty:
        await in_thread(self._store.request_cancel, operation_id(request.name))
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, call: Call
    ) -> empty_pb2.Empty:
        await in_thread(self._store.delete, operation_id(request.name))
        return empty_pb2.Empty()

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, call: Call
    ) -> operations_pb2.Operation:
        seconds = _LONGEST_WAIT_SECONDS
        if request.HasField("timeout"):
            seconds = min(seconds, max(0.0, request.timeout.ToNanoseconds() / 1e9))
        found = await self._watcher.wait(operation_id(request.name), seconds)
        return await self._message(found)

    async def WatchOperation(
        self, request: pb.WatchOperationRequest, call: Call
    ) -> AsyncIterator[pb.WatchOperationResponse]:
        async for operation in self._watcher.watch(operation_id(request.name)):
            yield pb.WatchOperationResponse(operation=await self._message(operation))

    async def _message(self, operation: Operation) -> operations_pb2.Operation:
        return await in_thread(self._messages.message, operation)


def operation_id(name: str) -> str:
    """The id in ``operations/{id}``. Raises InvalidArgument (field name)."""
    identifier = name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or not identifier:
        raise InvalidArgument("an operation is named operations/{operation}", field="name")
    if not identifier.isalnum():
        raise NotFound(
            "there is no such operation", reason="OPERATION_NOT_FOUND", metadata={"name": name}
        )
    return identifier


def parse_filter(text: str) -> tuple[str | None, OperationState | None]:
    """Kind and state of ``kind=distill AND state=running``, either alone, or an empty text."""
    kind: str | None = None
    state: OperationState | None = None
    for term in filter(None, (part.strip() for part in text.split(" AND "))):
        key, equals, value = (part.strip() for part in term.partition("="))
        if key == "kind" and equals:
            kind = value.strip('"')
        elif key == "state" and value.strip('"').lower() in list(OperationState):
            state = OperationState(value.strip('"').lower())
        else:
            raise InvalidArgument(
                f"cannot filter by {term!r}; write kind=distill, state=running, or both with AND",
                reason="BAD_FILTER",
                field="filter",
            )
    return kind, state
