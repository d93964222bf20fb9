"""Domain errors, by whose fault they are and what can be done about them.

One class a canonical condition, after containerd's errdefs: the domain raises these, and the
transport turns each into a status in one place (``stillroom_server.rpc.errors``). A room that wants
to be caught by name derives its own class from one of them.

    StillroomError
     ├ InvalidArgument      the request is wrong whatever the state; ``field`` names the culprit
     ├ OutOfRange           a page token or an offset beyond the end
     ├ NotFound             no such model, version, alias, operation, upload
     ├ AlreadyExists        the name is taken
     ├ FailedPrecondition   the state forbids it; the caller must change the state first
     ├ Aborted              a concurrent change won; read again, then retry
     ├ ResourceExhausted    a quota, the disk, a limit; ``retry_after`` when waiting helps
     ├ Unavailable          not now; retrying the same request is right
     ├ PermissionDenied     known caller, forbidden thing
     ├ Unauthenticated      unknown caller
     ├ Cancelled            somebody asked to stop
     ├ DeadlineExceeded     too late to be of use
     ├ DataLoss             stored bytes are damaged
     ├ Unimplemented        the RPC exists, its implementation does not yet
     └ Internal             our fault
"""

from __future__ import annotations

from collections.abc import Mapping


class StillroomError(Exception):
    """Base of every domain error.

    ``reason`` is a stable UPPER_SNAKE word for machines, ``message`` a sentence for people that
    says what to do, ``field`` the path of the request field at fault, ``metadata`` string pairs
    about this occurrence, ``retry_after`` seconds after which the same request may succeed.
    """

    default_reason = "INTERNAL"

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
        self.reason = reason or self.default_reason
        self.field = field
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after = retry_after


class InvalidArgument(StillroomError):
    default_reason = "INVALID_ARGUMENT"


class OutOfRange(StillroomError):
    default_reason = "OUT_OF_RANGE"


class NotFound(StillroomError):
    default_reason = "NOT_FOUND"


class AlreadyExists(StillroomError):
    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(StillroomError):
    default_reason = "FAILED_PRECONDITION"


class Aborted(StillroomError):
    default_reason = "ABORTED"


class ResourceExhausted(StillroomError):
    default_reason = "RESOURCE_EXHAUSTED"


class Unavailable(StillroomError):
    default_reason = "UNAVAILABLE"


class PermissionDenied(StillroomError):
    default_reason = "PERMISSION_DENIED"


class Unauthenticated(StillroomError):
    default_reason = "UNAUTHENTICATED"


class Cancelled(StillroomError):
    default_reason = "CANCELLED"


class DeadlineExceeded(StillroomError):
    default_reason = "DEADLINE_EXCEEDED"


class DataLoss(StillroomError):
    default_reason = "DATA_LOSS"


class Unimplemented(StillroomError):
    default_reason = "UNIMPLEMENTED"


class Internal(StillroomError):
    default_reason = "INTERNAL"
