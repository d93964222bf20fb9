"""Claims on operations: who executes what, for how long, and what ends it.

Guarantees, each held by one conditional statement in a serialized write transaction:

- Of two workers that want an operation one gets it, under an attempt number never used before.
- Whatever an attempt does after a later one began, or after the operation ended, raises LeaseLost
  and changes nothing (the attempt is a fencing number).
- A success that commits was not asked to be cancelled; an operation asked to be cancelled while
  nobody executes it is cancelled at once.

A lease expires by the wall clock. A jump of the clock can therefore end one early, which costs an
attempt and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_server.operations import rows, turns, worker
from stillroom_server.operations.lost import (
    LostClaim,
    cancelled_text,
    find_lost,
    settle_lost,
)
from stillroom_server.operations.model import (
    CancelRequested,
    Claim,
    Json,
    LeaseLost,
    OperationError,
    OperationState,
    Progress,
)
from stillroom_server.operations.observer import Ended, NoObserver, Observer
from stillroom_server.operations.schema import operations

MAX_LOST_ATTEMPTS = 3


class OperationLeases:
    """What runners do with operations; ``OperationStore`` adds what everybody else does."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        worker_is_gone: Callable[[str], bool] = worker.is_gone,
        max_lost_attempts: int = MAX_LOST_ATTEMPTS,
        observer: Observer | None = None,
    ) -> None:
        self.database = database
        self.observer = observer or NoObserver()
        self._clock = clock
        self._worker_is_gone = worker_is_gone
        self._max_lost_attempts = max_lost_attempts

    def data_version(self) -> int:
        """A number that changes with every commit to the database, of any process."""
        return self.database.data_version()

    def claim(
        self, worker_name: str, lease_seconds: float, *, held: Collection[str] = ()
    ) -> Claim | None:
        """The operation whose turn it is, the oldest of these, or None if none waits.

        ``held`` are the operations that this worker is executing: they are left alone even when
        their lease ran out, and any other that carries the worker's name counts as lost.
        """
        if not self.claimable(worker_name, held=held):
            return None
        now = self._clock()
        with self.database.write() as connection:
            self._reap(connection, now, worker_name, held)
            row = connection.execute(
                sa.select(operations)
                .where(operations.c.state == OperationState.PENDING)
                .order_by(*turns.ORDER)
                .limit(1)
            ).one_or_none()
            if row is None:
                return None
            connection.execute(
                sa.update(operations)
                .where(operations.c.sequence == row.sequence)
                .values(
                    state=OperationState.RUNNING,
                    attempt=row.attempt + 1,
                    worker=worker_name,
                    lease_expire_time=now + timedelta(seconds=lease_seconds),
                    start_time=row.start_time or now,
                    update_time=now,
                )
            )
            claimed = connection.execute(
                sa.select(operations).where(operations.c.sequence == row.sequence)
            ).one()
        return Claim(rows.operation_from_row(claimed), worker_name, lease_seconds)

    def claimable(self, worker_name: str = "", *, held: Collection[str] = ()) -> bool:
        """Whether ``claim`` would find work; a read, so that an idle runner takes no write lock."""
        with self.database.read() as connection:
            pending = connection.execute(
                sa.select(operations.c.sequence)
                .where(operations.c.state == OperationState.PENDING)
                .limit(1)
            ).first()
            return pending is not None or bool(
                self._lost(connection, self._clock(), worker_name, held)
            )

    def reap(self) -> int:
        """Put operations whose worker is gone back into the queue, or end them; how many.

        For a process that executes nothing itself; ``claim`` does the same on its way.
        """
        now = self._clock()
        with self.database.read() as connection:
            if not self._lost(connection, now, "", ()):
                return 0
        with self.database.write() as connection:
            return self._reap(connection, now, "", ())

    def heartbeat(self, claim: Claim, progress: Progress | None = None) -> bool:
        """Extend the lease, store ``progress`` if any; whether cancellation was requested."""
        now = self._clock()
        values: dict[str, Any] = {"lease_expire_time": now + timedelta(seconds=claim.lease_seconds)}
        if progress is not None:
            values |= {"progress": rows.progress_to_text(progress), "update_time": now}
        with self.database.write() as connection:
            cancel_requested = self.guard(connection, claim)
            connection.execute(sa.update(operations).where(_owned(claim)).values(**values))
            self._note(connection, claim, last=False)
        return cancel_requested

    def cancel_requested(self, claim: Claim) -> bool:
        """What ``heartbeat`` would tell, by a read alone. Raises LeaseLost."""
        with self.database.read() as connection:
            return self.guard(connection, claim)

    def guard(self, connection: sa.Connection, claim: Claim) -> bool:
        """Raise LeaseLost unless the claim holds within this transaction; whether to cancel."""
        requested = connection.execute(
            sa.select(operations.c.cancel_requested).where(_owned(claim)).with_for_update()
        ).scalar_one_or_none()
        if requested is None:
            raise LeaseLost(claim)
        return bool(requested)

    def succeed(
        self,
        claim: Claim,
        result: Json,
        connection: sa.Connection | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        """End in success. Raises LeaseLost, or CancelRequested when that was asked for in time."""
        text = rows.to_text(result, field="result")
        with self._writing(connection) as transaction:
            if self.guard(transaction, claim):
                raise CancelRequested(claim.operation_id)
            self._end(
                transaction, claim, OperationState.SUCCEEDED, progress, made=result, result=text
            )

    def fail(
        self,
        claim: Claim,
        error: OperationError,
        connection: sa.Connection | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        """End in failure, even when cancellation was asked for: the error is worth more."""
        with self._writing(connection) as transaction:
            self.guard(transaction, claim)
            self._end(
                transaction,
                claim,
                OperationState.FAILED,
                progress,
                error=rows.error_to_text(error),
            )

    def cancel(self, claim: Claim, *, progress: Progress | None = None) -> None:
        """End as cancelled, the executor having unwound."""
        with self.database.write() as connection:
            self.guard(connection, claim)
            text = cancelled_text(claim.operation_id)
            self._end(connection, claim, OperationState.CANCELLED, progress, error=text)

    def others_wait(self) -> bool:
        """Whether an operation waits for somebody to execute it."""
        with self.database.read() as connection:
            return turns.others_wait(connection)

    def release(
        self, claim: Claim, *, progress: Progress | None = None, behind: bool = False
    ) -> None:
        """Give the operation back to its place in the queue, or ``behind`` all others in it; the
        attempt does not count as lost."""
        now = self._clock()
        with self.database.write() as connection:
            turn = {"turn": turns.last_turn(connection) + 1} if behind else {}
            if self.guard(connection, claim):
                text = cancelled_text(claim.operation_id)
                self._end(connection, claim, OperationState.CANCELLED, progress, error=text)
                return
            self._note(connection, claim, last=True)
            connection.execute(
                sa.update(operations)
                .where(_owned(claim))
                .values(
                    state=OperationState.PENDING,
                    worker=None,
                    lease_expire_time=None,
                    update_time=now,
                    **turn,
                    **_progress(progress),
                )
            )

    def _end(
        self,
        connection: sa.Connection,
        claim: Claim,
        state: OperationState,
        progress: Progress | None,
        *,
        made: Json | None = None,
        **values: str,
    ) -> None:
        now = self._clock()
        self._note(connection, claim, last=True)
        connection.execute(
            sa.update(operations)
            .where(_owned(claim))
            .values(
                state=state,
                worker=None,
                lease_expire_time=None,
                update_time=now,
                end_time=now,
                **_progress(progress),
                **values,
            )
        )
        self._tell_end(connection, claim.operation_id, made)

    def _note(self, connection: sa.Connection, claim: Claim, *, last: bool) -> None:
        self.observer.note(connection, claim.operation_id, claim.attempt, last=last)

    def _tell_end(
        self, connection: sa.Connection, operation_id: str, result: Json | None = None
    ) -> None:
        """In the transaction of the end, whoever brings it about."""
        row = connection.execute(
            sa.select(
                operations.c.kind,
                operations.c.state,
                operations.c.attempt,
                operations.c.start_time,
                operations.c.end_time,
            ).where(operations.c.id == operation_id)
        ).one()
        succeeded = row.state == OperationState.SUCCEEDED
        ended = Ended(
            operation_id, row.kind, succeeded, row.attempt, row.start_time, row.end_time, result
        )
        self.observer.ended(connection, ended)

    def _lost(
        self, connection: sa.Connection, now: datetime, worker_name: str, held: Collection[str]
    ) -> list[LostClaim]:
        return find_lost(
            connection,
            now,
            worker_name=worker_name,
            held=held,
            worker_is_gone=self._worker_is_gone,
        )

    def _reap(
        self, connection: sa.Connection, now: datetime, worker_name: str, held: Collection[str]
    ) -> int:
        lost = self._lost(connection, now, worker_name, held)
        for claim in lost:
            if settle_lost(connection, claim, now, self._max_lost_attempts):
                self._tell_end(connection, claim.operation_id)
        return len(lost)

    @contextmanager
    def _writing(self, connection: sa.Connection | None) -> Iterator[sa.Connection]:
        if connection is not None:
            yield connection
            return
        with self.database.write() as own:
            yield own


def _owned(claim: Claim) -> sa.ColumnElement[bool]:
    return sa.and_(
        operations.c.id == claim.operation_id,
        operations.c.attempt == claim.attempt,
        operations.c.worker == claim.worker,
        operations.c.state == OperationState.RUNNING,
    )


def _progress(progress: Progress | None) -> dict[str, str]:
    return {} if progress is None else {"progress": rows.progress_to_text(progress)}
