"""What an operation is: values only, no I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from stillroom_registry import errors

Json: TypeAlias = Mapping[str, Any]
"""A JSON object: string keys, values that ``json.dumps(allow_nan=False)`` takes."""

_MESSAGE_LIMIT = 4000  # characters; an error is stored, sent in a status and printed


class OperationState(StrEnum):
    """PENDING -> RUNNING -> one of the three terminal states; RUNNING -> PENDING when released."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self not in (OperationState.PENDING, OperationState.RUNNING)


@dataclass(frozen=True)
class Progress:
    """How far the current phase is, and how far the whole.

    ``done`` and ``total`` count ``unit``s of the phase (total 0: not known), ``rate`` is units a
    second and ``seconds_left`` the time left of the phase, both None until they can be told.
    ``fraction`` (0 to 1) is of the whole operation, every phase counting the same; it never falls
    within one attempt.
    """

    phase: str
    phase_index: int
    phase_count: int
    done: int
    total: int
    unit: str
    message: str = ""
    rate: float | None = None
    seconds_left: float | None = None
    fraction: float = 0.0


@dataclass(frozen=True)
class OperationError:
    """A domain error as stored; ``code`` names its class in ``stillroom_registry.errors``."""

    code: str
    reason: str
    message: str
    field: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_error(cls, error: errors.StillroomError) -> OperationError:
        return cls(
            code=_canonical_class(type(error)).__name__,
            reason=error.reason,
            message=error.message[:_MESSAGE_LIMIT],
            field=error.field,
            metadata=dict(error.metadata),
        )

    def to_error(self) -> errors.StillroomError:
        """The same error to raise again; one whose class this release does not know is Internal."""
        known = getattr(errors, self.code, None)
        error_class: type[errors.StillroomError] = errors.Internal
        if isinstance(known, type) and issubclass(known, errors.StillroomError):
            error_class = known
        return error_class(
            self.message, reason=self.reason, field=self.field, metadata=self.metadata
        )


def _canonical_class(error_class: type[errors.StillroomError]) -> type[errors.StillroomError]:
    """The class of errors.py that a room's own subclass derives from."""
    for base in error_class.__mro__:
        if base.__module__ == errors.__name__ and base is not errors.StillroomError:
            return base
    return errors.Internal


@dataclass(frozen=True)
class Operation:
    """One piece of long work as the database has it.

    ``attempt`` is the fencing number: it grows with every claim, whatever ended the one before.
    ``lost_attempts`` counts only attempts whose runner died or lost its lease. ``target`` is the
    name of the model that the operation makes. Times are aware, in UTC.
    """

    id: str
    kind: str
    request: Json
    state: OperationState
    create_time: datetime
    update_time: datetime
    target: str | None = None
    progress: Progress | None = None
    attempt: int = 0
    lost_attempts: int = 0
    cancel_requested: bool = False
    result: Json | None = None
    error: OperationError | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def done(self) -> bool:
        return self.state.terminal


@dataclass(frozen=True)
class Claim:
    """The right to execute an operation, as long as ``attempt`` is still its latest attempt."""

    operation: Operation
    worker: str
    lease_seconds: float

    @property
    def attempt(self) -> int:
        return self.operation.attempt

    @property
    def operation_id(self) -> str:
        return self.operation.id


class LeaseLost(errors.Aborted):
    """This attempt no longer owns its operation: nothing it does counts any more."""

    default_reason = "LEASE_LOST"

    def __init__(self, claim: Claim) -> None:
        super().__init__(
            f"Attempt {claim.attempt} of operation {claim.operation_id} was given up: another "
            "attempt has begun, or the operation has ended.",
            metadata={"operation": claim.operation_id, "attempt": str(claim.attempt)},
        )


class CancelRequested(errors.Cancelled):
    """Somebody asked for the operation to be cancelled; the executor should unwind."""

    def __init__(self, operation_id: str) -> None:
        super().__init__(
            f"Operation {operation_id} was cancelled on request.",
            metadata={"operation": operation_id},
        )


class GivesWay(errors.Cancelled):
    """The operation had its time slice and others wait; it goes on later, from its checkpoint."""

    default_reason = "GIVES_WAY"

    def __init__(self, operation_id: str) -> None:
        super().__init__(
            f"Operation {operation_id} lets others have their turn; it will resume.",
            metadata={"operation": operation_id},
        )


class RunnerStopping(errors.Cancelled):
    """The runner ends; the operation itself goes on later, from its last checkpoint."""

    default_reason = "RUNNER_STOPPING"

    def __init__(self, operation_id: str) -> None:
        super().__init__(
            f"The runner of operation {operation_id} stops; the operation will resume.",
            metadata={"operation": operation_id},
        )
