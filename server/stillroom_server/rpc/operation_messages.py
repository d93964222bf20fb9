"""Operations as google.longrunning.Operation, with what each kind answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from stillroom.v1 import operation_service_pb2 as pb
from stillroom_server.operations.model import (
    Json,
    Operation,
    OperationError,
    OperationState,
    Progress,
)
from stillroom_server.rpc import errors, fidelity_messages, translate

STATES = {
    OperationState.PENDING: pb.OPERATION_STATE_PENDING,
    OperationState.RUNNING: pb.OPERATION_STATE_RUNNING,
    OperationState.SUCCEEDED: pb.OPERATION_STATE_SUCCEEDED,
    OperationState.FAILED: pb.OPERATION_STATE_FAILED,
    OperationState.CANCELLED: pb.OPERATION_STATE_CANCELLED,
}

REPORT = "report"
"""Key of an error's metadata under which a student's report travels as JSON."""

ResponseBuilder = Callable[[Json], Message]
"""The response message of one kind of operation, from its stored result."""


class OperationMessages:
    """Turns stored operations into messages; ``responses`` has one builder a kind."""

    def __init__(self, responses: Mapping[str, ResponseBuilder]) -> None:
        self._responses = responses

    def message(self, operation: Operation) -> operations_pb2.Operation:
        """``operation`` as the protocol shows it."""
        result = operations_pb2.Operation(name=f"operations/{operation.id}", done=operation.done)
        result.metadata.Pack(_metadata(operation))
        if operation.error is not None:
            result.error.CopyFrom(_status(operation.error))
        elif operation.state is OperationState.SUCCEEDED:
            result.response.Pack(self._responses[operation.kind](operation.result or {}))
        return result

    def finished(self, kind: str, target: str, response: Message) -> operations_pb2.Operation:
        """An operation that was never made: done, with ``response`` and without a name."""
        result = operations_pb2.Operation(done=True)
        result.metadata.Pack(
            pb.OperationMetadata(
                kind=kind, state=pb.OPERATION_STATE_SUCCEEDED, target=f"models/{target}"
            )
        )
        result.response.Pack(response)
        return result


def _status(error: OperationError) -> status_pb2.Status:
    """``error`` with its report, if it has one, as a detail of its own: the metadata of an error
    are short."""
    metadata = dict(error.metadata)
    text = metadata.pop(REPORT, None)
    status = errors.to_status(replace(error, metadata=metadata).to_error())
    if text is not None:
        status.details.add().Pack(fidelity_messages.report(json.loads(text)))
    return status


def _metadata(operation: Operation) -> pb.OperationMetadata:
    return pb.OperationMetadata(
        kind=operation.kind,
        state=STATES[operation.state],
        progress=None if operation.progress is None else _progress(operation.progress),
        attempt=operation.attempt,
        target=f"models/{operation.target}" if operation.target else "",
        create_time=translate.timestamp(operation.create_time),
        start_time=translate.timestamp(operation.start_time),
        update_time=translate.timestamp(operation.update_time),
        end_time=translate.timestamp(operation.end_time),
        cancel_requested=operation.cancel_requested,
    )


def _progress(value: Progress) -> pb.OperationProgress:
    return pb.OperationProgress(
        phase=value.phase,
        phase_index=value.phase_index + 1,  # people count from 1
        phase_count=value.phase_count,
        done=value.done,
        total=value.total,
        unit=value.unit,
        message=value.message,
        rate=value.rate,
        seconds_left=value.seconds_left,
        fraction=value.fraction,
    )
