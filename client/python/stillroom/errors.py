"""What can go wrong, one class a gRPC status.

    StillroomError            code, message, reason, field, metadata, retry_after
     ├ InvalidArgument        the request is wrong whatever the state; ``field`` names the culprit
     ├ OutOfRange             an offset or a page token beyond the end
     ├ NotFound               no such model, version, alias, upload or operation
     ├ AlreadyExists          the name is taken
     ├ FailedPrecondition     the state forbids it; change the state first
     │  ├ FidelityTooLow      a student below what was demanded; ``report`` is what was measured
     │  └ BudgetExceeded      it would take more than it may; ``estimate`` is what it would take
     ├ Aborted                somebody else was first; read again, then retry
     ├ ResourceExhausted      a limit, a quota or the disk; ``retry_after`` when waiting helps
     ├ Unavailable            cannot be reached, starting or stopping; the same request may succeed
     ├ PermissionDenied       you may not
     ├ Unauthenticated        no token, or a wrong one
     ├ Cancelled              somebody asked to stop
     ├ DeadlineExceeded       too late
     ├ DataLoss               bytes are damaged
     ├ Unimplemented          this server does not do that (yet)
     ├ Internal               the server's fault, or an answer that breaks the protocol
     └ Unknown                a status without a code of its own

``from_status`` and ``from_rpc_error`` are the inverse of the server's mapping: its domain errors
come out here as they were raised there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import grpc
    from google.rpc.status_pb2 import Status

    from stillroom.v1.cost_service_pb2 import CostEstimate
    from stillroom.v1.fidelity_pb2 import FidelityReport

_DETAILS_KEY = "grpc-status-details-bin"


class StillroomError(Exception):
    """Base of every error of this client.

    ``code`` is the gRPC status name, ``reason`` a stable UPPER_SNAKE word for machines, ``message``
    a sentence for people, ``field`` the path of the request field at fault, ``metadata`` string
    pairs about this occurrence, ``retry_after`` seconds after which the same request may succeed.
    """

    code: ClassVar[str] = "UNKNOWN"
    number: ClassVar[int] = 2

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.code
        self.field = field
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.message, self.__dict__.copy()))


def _restore(kind: type[StillroomError], message: str, state: dict[str, Any]) -> StillroomError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class Cancelled(StillroomError):
    code, number = "CANCELLED", 1


class Unknown(StillroomError):
    code, number = "UNKNOWN", 2


class InvalidArgument(StillroomError):
    code, number = "INVALID_ARGUMENT", 3


class DeadlineExceeded(StillroomError):
    code, number = "DEADLINE_EXCEEDED", 4


class NotFound(StillroomError):
    code, number = "NOT_FOUND", 5


class AlreadyExists(StillroomError):
    code, number = "ALREADY_EXISTS", 6


class PermissionDenied(StillroomError):
    code, number = "PERMISSION_DENIED", 7


class ResourceExhausted(StillroomError):
    code, number = "RESOURCE_EXHAUSTED", 8


class FailedPrecondition(StillroomError):
    code, number = "FAILED_PRECONDITION", 9


class FidelityTooLow(FailedPrecondition):
    """``report`` is the student's FidelityReport; None where it did not come along."""

    report: FidelityReport | None = None


class BudgetExceeded(FailedPrecondition):
    """``estimate`` is the CostEstimate, without its phases; None where it did not come along."""

    estimate: CostEstimate | None = None


class Aborted(StillroomError):
    code, number = "ABORTED", 10


class OutOfRange(StillroomError):
    code, number = "OUT_OF_RANGE", 11


class Unimplemented(StillroomError):
    code, number = "UNIMPLEMENTED", 12


class Internal(StillroomError):
    code, number = "INTERNAL", 13


class Unavailable(StillroomError):
    code, number = "UNAVAILABLE", 14


class DataLoss(StillroomError):
    code, number = "DATA_LOSS", 15


class Unauthenticated(StillroomError):
    code, number = "UNAUTHENTICATED", 16


CLASSES: dict[int, type[StillroomError]] = {
    kind.number: kind for kind in StillroomError.__subclasses__()
}
# Errors that say more than their status, by their reason.
_NARROWER: dict[str, type[FailedPrecondition]] = {
    "FIDELITY_TOO_LOW": FidelityTooLow,
    "BUDGET_EXCEEDED": BudgetExceeded,
}


def from_status(status: Status) -> StillroomError:
    """The error that a google.rpc.Status carries."""
    from google.rpc import error_details_pb2 as details

    info = details.ErrorInfo()
    bad_request = details.BadRequest()
    retry = details.RetryInfo()
    field: str | None = None
    retry_after: float | None = None
    for detail in status.details:
        if detail.Unpack(info):
            continue
        if detail.Unpack(bad_request):
            field = next((v.field for v in bad_request.field_violations), None)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    kind = CLASSES.get(status.code, Unknown)
    if kind is FailedPrecondition:
        kind = _NARROWER.get(info.reason, kind)
    error = kind(
        status.message or kind.code,
        reason=info.reason or None,
        field=field,
        metadata=dict(info.metadata),
        retry_after=retry_after,
    )
    if isinstance(error, FidelityTooLow):
        error.report = _report(status)
    elif isinstance(error, BudgetExceeded):
        error.estimate = _estimate(status)
    return error


def _report(status: Status) -> FidelityReport | None:
    from stillroom.v1.fidelity_pb2 import FidelityReport

    report = FidelityReport()
    return report if any(detail.Unpack(report) for detail in status.details) else None


def _estimate(status: Status) -> CostEstimate | None:
    from stillroom.v1.cost_service_pb2 import CostEstimate

    estimate = CostEstimate()
    return estimate if any(detail.Unpack(estimate) for detail in status.details) else None


def from_rpc_error(error: grpc.RpcError, target: str = "") -> StillroomError:
    """The error of a failed call, blocking or asyncio; ``target`` tells people where it went."""
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    call: Any = error
    number = call.code().value[0]
    for raw in _values(call.trailing_metadata(), _DETAILS_KEY):
        try:
            status = Status.FromString(raw)
        except DecodeError:
            continue
        if status.code == number:
            return from_status(status)
    # Made by gRPC itself, on either side: there are no details.
    message = call.details() or ""
    kind = CLASSES.get(number, Unknown)
    if kind is Unavailable and target:
        message = f"no answer from {target} ({message}). Is the server running there?"
    return kind(message or kind.code, reason=f"GRPC_{kind.code}")


def _values(metadata: Any, key: str) -> Iterator[bytes]:
    for name, value in metadata or ():
        if name == key:
            yield value
