"""Operations in the database: what servers and clients do with them. Runners: see leases.py."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.pages import make_token, page_limit, read_token
from stillroom_registry.values import Page
from stillroom_server.operations import migrations, rows, worker
from stillroom_server.operations.leases import MAX_LOST_ATTEMPTS, OperationLeases
from stillroom_server.operations.lost import cancelled_text
from stillroom_server.operations.model import Json, Operation, OperationState
from stillroom_server.operations.observer import Observer
from stillroom_server.operations.schema import operation_requests, operations
from stillroom_server.operations.turns import last_turn

REQUEST_ID_LIFETIME = timedelta(hours=24)
_MAX_REQUEST_ID = 256  # characters
_MAX_SEQUENCE = 2**63 - 1  # what the database takes; a forged page token may hold more


def random_id() -> str:
    """96 random bits; an operation's id is also the name of its workspace folder."""
    return secrets.token_hex(12)


class OperationStore(OperationLeases):
    """All of the operations of one database. Safe between threads and processes.

    ``clock`` tells the time of day, aware; ``new_id`` makes an id. Opening upgrades the tables.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        new_id: Callable[[], str] = random_id,
        worker_is_gone: Callable[[str], bool] = worker.is_gone,
        max_lost_attempts: int = MAX_LOST_ATTEMPTS,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(
            database,
            clock,
            worker_is_gone=worker_is_gone,
            max_lost_attempts=max_lost_attempts,
            observer=observer,
        )
        self._new_id = new_id
        migrations.upgrade(database)

    def create(
        self,
        kind: str,
        request: Json,
        *,
        target: str | None = None,
        request_id: str | None = None,
        fingerprint: bytes | None = None,
        in_transaction: Callable[[sa.Connection, Operation], None] | None = None,
    ) -> Operation:
        """Queue an operation; on disk when this returns.

        The same ``request_id`` within 24 hours returns the operation that it created, as it is now.
        ``fingerprint`` is what must be equal for that, besides the kind (default: target and
        request); give the bytes of the caller's own message where ``request`` holds more.
        ``in_transaction`` is called with a new operation before it is committed: what it writes is
        there with the operation or not at all, and what it raises undoes both.

        Raises InvalidArgument (field request_id) when it was used with another body, and
        FailedPrecondition (OPERATION_DELETED) when its operation has been deleted since.
        """
        text = rows.to_text(request, field="request")
        if fingerprint is None:
            body = {"target": target, "request": request}
            fingerprint = rows.to_text(body, field="request").encode()
        digest = _digest(kind, fingerprint)
        if request_id is not None and not 0 < len(request_id) <= _MAX_REQUEST_ID:
            raise InvalidArgument(
                f"request_id has {len(request_id)} characters; give 1 to {_MAX_REQUEST_ID}, best a "
                "new random UUID for every new request.",
                field="request_id",
            )
        now = self._clock()
        with self.database.write() as connection:
            if request_id is not None:
                connection.execute(
                    sa.delete(operation_requests).where(
                        operation_requests.c.create_time <= now - REQUEST_ID_LIFETIME
                    )
                )
                existing = self._by_request_id(connection, request_id, digest, now)
                if existing is not None:
                    return existing
            operation_id = self._new_id()
            connection.execute(
                sa.insert(operations).values(
                    id=operation_id,
                    kind=kind,
                    target=target,
                    request=text,
                    state=OperationState.PENDING,
                    attempt=0,
                    lost_attempts=0,
                    cancel_requested=False,
                    create_time=now,
                    update_time=now,
                    turn=last_turn(connection),
                )
            )
            if request_id is not None:
                connection.execute(
                    sa.insert(operation_requests).values(
                        request_id=request_id,
                        operation_id=operation_id,
                        fingerprint=digest,
                        create_time=now,
                    )
                )
            operation = self._get(connection, operation_id)
            if in_transaction is not None:
                in_transaction(connection, operation)
            return operation

    def created_by(self, kind: str, request_id: str, fingerprint: bytes) -> Operation | None:
        """What ``create`` with these made within 24 hours, as it is now; None: it would make a new
        one. Raises as ``create`` does."""
        with self.database.read() as connection:
            return self._by_request_id(
                connection, request_id, _digest(kind, fingerprint), self._clock()
            )

    def get(self, operation_id: str) -> Operation:
        """Raises NotFound."""
        with self.database.read() as connection:
            return self._get(connection, operation_id)

    def get_many(self, operation_ids: Collection[str]) -> dict[str, Operation]:
        """Those that exist, by id."""
        with self.database.read() as connection:
            found = connection.execute(
                sa.select(operations).where(operations.c.id.in_(operation_ids))
            ).all()
        return {row.id: rows.operation_from_row(row) for row in found}

    def list(
        self,
        page_size: int = 0,
        page_token: str = "",
        state: OperationState | None = None,
        kind: str | None = None,
    ) -> Page[Operation]:
        """Newest first. Page size 0 is 50, at most 1000.

        Raises InvalidArgument (field page_size or page_token).
        """
        size = page_limit(page_size)
        listing = json.dumps(["operations", state, kind])
        query = sa.select(operations).order_by(operations.c.sequence.desc()).limit(size + 1)
        last_sequence = read_token(listing, page_token, int)
        if last_sequence is not None:
            query = query.where(operations.c.sequence < min(last_sequence, _MAX_SEQUENCE))
        if state is not None:
            query = query.where(operations.c.state == state)
        if kind is not None:
            query = query.where(operations.c.kind == kind)
        with self.database.read() as connection:
            found = connection.execute(query).all()
        page = found[:size]
        token = make_token(listing, page[-1].sequence) if len(found) > size else ""
        return Page(tuple(rows.operation_from_row(row) for row in page), token)

    def count_by_kind_and_state(self) -> dict[tuple[str, OperationState], int]:
        """How many operations there are of each kind and state; for metrics."""
        with self.database.read() as connection:
            found = connection.execute(
                sa.select(operations.c.kind, operations.c.state, sa.func.count()).group_by(
                    operations.c.kind, operations.c.state
                )
            ).all()
        return {(kind, OperationState(state)): count for kind, state, count in found}

    def unfinished_ids(self) -> set[str]:
        """The operations that are pending or running."""
        with self.database.read() as connection:
            return set(
                connection.execute(
                    sa.select(operations.c.id).where(
                        operations.c.state.in_((OperationState.PENDING, OperationState.RUNNING))
                    )
                ).scalars()
            )

    def request_cancel(self, operation_id: str) -> Operation:
        """Ask for an end: a pending operation ends at once, a running one soon, an ended one stays.

        Once this has returned for an operation that had not ended, it will not succeed any more.
        Raises NotFound.
        """
        now = self._clock()
        with self.database.write() as connection:
            operation = self._get(connection, operation_id)
            if operation.done or operation.cancel_requested:
                return operation
            change = sa.update(operations).where(operations.c.id == operation_id)
            change = change.values(cancel_requested=True, update_time=now)
            if operation.state is OperationState.PENDING:
                change = change.values(
                    state=OperationState.CANCELLED,
                    end_time=now,
                    error=cancelled_text(operation_id),
                )
            connection.execute(change)
            if operation.state is OperationState.PENDING:
                self._tell_end(connection, operation_id)
            return self._get(connection, operation_id)

    def delete(self, operation_id: str) -> None:
        """Forget an ended operation; what it made stays. Raises NotFound, FailedPrecondition."""
        with self.database.write() as connection:
            operation = self._get(connection, operation_id)
            if not operation.done:
                raise FailedPrecondition(
                    f"Operation {operation_id} is {operation.state}; cancel it, wait until it has "
                    "ended, then delete it.",
                    reason="OPERATION_NOT_DONE",
                    metadata={"operation": operation_id, "state": operation.state.value},
                )
            connection.execute(sa.delete(operations).where(operations.c.id == operation_id))

    def forget_ended(self, before: datetime) -> int:
        """Delete the operations that ended before ``before``; how many there were."""
        with self.database.write() as connection:
            old = sa.delete(operations).where(operations.c.end_time < before)
            return connection.execute(old).rowcount

    def _get(self, connection: sa.Connection, operation_id: str) -> Operation:
        row = connection.execute(
            sa.select(operations).where(operations.c.id == operation_id)
        ).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no operation {operation_id!r}; list the operations to see which exist.",
                reason="OPERATION_NOT_FOUND",
                field="name",
                metadata={"operation": operation_id[:_MAX_REQUEST_ID]},
            )
        return rows.operation_from_row(row)

    def _by_request_id(
        self, connection: sa.Connection, request_id: str, digest: str, now: datetime
    ) -> Operation | None:
        earlier = connection.execute(
            sa.select(operation_requests).where(
                operation_requests.c.request_id == request_id,
                operation_requests.c.create_time > now - REQUEST_ID_LIFETIME,
            )
        ).one_or_none()
        if earlier is None:
            return None
        if earlier.fingerprint != digest:
            raise InvalidArgument(
                f"request_id {request_id!r} was used for another request; give every new request "
                "an id of its own.",
                reason="REQUEST_ID_REUSED",
                field="request_id",
            )
        try:
            return self._get(connection, earlier.operation_id)
        except NotFound:
            raise FailedPrecondition(
                f"Operation {earlier.operation_id}, created by this request_id, has been deleted; "
                "to run it again, give a new request_id.",
                reason="OPERATION_DELETED",
                field="request_id",
            ) from None


def _digest(kind: str, fingerprint: bytes) -> str:
    return hashlib.sha256(kind.encode() + b"\0" + fingerprint).hexdigest()
