"""Attempts whose worker died or fell silent: finding them, and what becomes of their operations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry.errors import Internal
from stillroom_server.operations import rows
from stillroom_server.operations.model import CancelRequested, OperationError, OperationState
from stillroom_server.operations.schema import operations


@dataclass(frozen=True)
class LostClaim:
    sequence: int
    operation_id: str
    cancel_requested: bool
    lost_attempts: int


def find_lost(
    connection: sa.Connection,
    now: datetime,
    *,
    worker_name: str,
    held: Collection[str],
    worker_is_gone: Callable[[str], bool],
) -> list[LostClaim]:
    """Running operations that nobody executes: their lease ran out, or their worker is gone.

    Those in ``held`` are executed by the caller, whatever the clock says; others under the
    caller's own ``worker_name`` are leftovers of an end that could not be written.
    """
    running = connection.execute(
        sa.select(
            operations.c.sequence,
            operations.c.id,
            operations.c.worker,
            operations.c.lease_expire_time,
            operations.c.cancel_requested,
            operations.c.lost_attempts,
        ).where(operations.c.state == OperationState.RUNNING)
    ).all()
    return [
        LostClaim(row.sequence, row.id, bool(row.cancel_requested), row.lost_attempts)
        for row in running
        if row.id not in held
        and (
            row.worker is None
            or row.worker == worker_name
            or row.lease_expire_time is None
            or row.lease_expire_time <= now
            or worker_is_gone(row.worker)
        )
    ]


def settle_lost(
    connection: sa.Connection, claim: LostClaim, now: datetime, max_lost_attempts: int
) -> bool:
    """Back into the queue; cancelled if that was asked for; failed if it was once too often.

    Returns whether that was its end.
    """
    lost_attempts = claim.lost_attempts + 1
    values: dict[str, Any] = {"state": OperationState.PENDING}
    if claim.cancel_requested:
        values = {
            "state": OperationState.CANCELLED,
            "end_time": now,
            "error": cancelled_text(claim.operation_id),
        }
    elif lost_attempts >= max_lost_attempts:
        values = {
            "state": OperationState.FAILED,
            "end_time": now,
            "error": rows.error_to_text(_exhausted(claim.operation_id, lost_attempts)),
        }
    connection.execute(
        sa.update(operations)
        .where(operations.c.sequence == claim.sequence)
        .values(
            worker=None,
            lease_expire_time=None,
            update_time=now,
            lost_attempts=lost_attempts,
            **values,
        )
    )
    return "end_time" in values


def cancelled_text(operation_id: str) -> str:
    """The stored error of a cancelled operation."""
    return rows.error_to_text(OperationError.from_error(CancelRequested(operation_id)))


def _exhausted(operation_id: str, lost: int) -> OperationError:
    return OperationError.from_error(
        Internal(
            f"Operation {operation_id} was given up: the runner died {lost} times while executing "
            "it. It may need more memory than there is; see the server's log.",
            reason="ATTEMPTS_EXHAUSTED",
            metadata={"operation": operation_id, "lost_attempts": str(lost)},
        )
    )
