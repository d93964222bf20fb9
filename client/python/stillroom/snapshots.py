"""An operation at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from google.longrunning import operations_pb2 as lro
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from stillroom._core import Core
from stillroom._protocol import enums
from stillroom.errors import Internal, StillroomError, from_status

# Imported for what they register: the messages that operations answer with.
from stillroom.v1 import (
    classification_service_pb2,  # noqa: F401
    cost_service_pb2,  # noqa: F401
    distillation_service_pb2,  # noqa: F401
    model_service_pb2,  # noqa: F401
)
from stillroom.v1 import operation_service_pb2 as pb

M = TypeVar("M", bound=Message)


class OperationSnapshot:
    """What was known of an operation when it was asked for."""

    def __init__(self, message: lro.Operation) -> None:
        self.message = message
        self.metadata = pb.OperationMetadata()
        message.metadata.Unpack(self.metadata)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.kind} {self.state}>"

    @property
    def name(self) -> str:
        """``operations/{id}``."""
        return cast(str, self.message.name)

    @property
    def done(self) -> bool:
        """Whether it has ended, however."""
        return cast(bool, self.message.done)

    @property
    def kind(self) -> str:
        """What it does: "distill", "import" and so on."""
        return self.metadata.kind

    @property
    def state(self) -> str:
        """pending, running, succeeded, failed or cancelled."""
        return enums.word(pb.OperationState, self.metadata.state)

    @property
    def latest_progress(self) -> pb.OperationProgress | None:
        """How far it is; None before it runs."""
        return self.metadata.progress if self.metadata.HasField("progress") else None

    @property
    def error(self) -> StillroomError | None:
        """Why it failed or was cancelled; None otherwise."""
        if self.message.WhichOneof("result") != "error":
            return None
        return from_status(self.message.error)

    def response(self) -> Message:
        """What it answered. Raises its error if it failed; Internal when it is not done."""
        error = self.error
        if error is not None:
            raise error
        if not self.done:
            raise Internal(f"{self.name} is not done", reason="NOT_DONE")
        packed = self.message.response
        try:
            pool = descriptor_pool.Default()
            descriptor = pool.FindMessageTypeByName(packed.type_url.rpartition("/")[2])
            answer: Message = message_factory.GetMessageClass(descriptor)()
            answer.ParseFromString(packed.value)
        except (KeyError, DecodeError):
            raise Internal(
                f"{self.name} answered with {packed.type_url!r}, which this client cannot read",
                reason="MALFORMED_ANSWER",
            ) from None
        return answer


@dataclass(frozen=True)
class Started(Generic[M]):
    """An operation that a flow started, whose response will be an ``M``: each face makes its own
    kind of handle of it."""

    core: Core
    message: lro.Operation
