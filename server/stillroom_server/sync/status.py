"""How far syncs are, from the outbox and the operations that execute them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from stillroom_server.operations.model import Operation, OperationState
from stillroom_server.operations.store import OperationStore
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.values import Direction, Sync, SyncState

_ENDED = {
    OperationState.SUCCEEDED: SyncState.DONE,
    OperationState.FAILED: SyncState.FAILED,
    OperationState.CANCELLED: SyncState.CANCELLED,
}


class SyncStatus:
    """A row says how a sync ended where its executor could write that; where it could not, because
    nobody had begun or it was killed too often, its operation does."""

    def __init__(self, outbox: Outbox, operations: OperationStore) -> None:
        self._outbox = outbox
        self._operations = operations

    def of_versions(self, model: str, versions: Collection[int]) -> dict[int, list[Sync]]:
        """The syncs of each of a model's ``versions``; see ``Outbox.of_versions``."""
        found = self._outbox.of_versions(model, versions)
        ended = self._ended(sync for syncs in found.values() for sync in syncs)
        return {
            number: [ended.get(sync.operation, sync) for sync in syncs]
            for number, syncs in found.items()
        }

    def counts(self) -> dict[tuple[Direction, SyncState], int]:
        """How many syncs there are by direction and state; every pair is there."""
        result = {(way, state): 0 for way in Direction for state in SyncState}
        unended = self._outbox.unended()
        result |= self._outbox.counts()
        for was, now in zip(unended, self._now(unended), strict=True):
            result[was.direction, was.state] -= 1
            result[now.direction, now.state] += 1
        return {pair: max(0, count) for pair, count in result.items()}

    def _now(self, syncs: list[Sync]) -> list[Sync]:
        ended = self._ended(syncs)
        return [ended.get(sync.operation, sync) for sync in syncs]

    def _ended(self, syncs: Iterable[Sync]) -> dict[str, Sync]:
        """Those that are not over as their rows have it, as they are, by operation."""
        unended = {sync.operation: sync for sync in syncs if not sync.state.ended}
        known = self._operations.get_many(unended.keys()) if unended else {}
        return {name: _as(sync, known.get(name)) for name, sync in unended.items()}


def _as(sync: Sync, operation: Operation | None) -> Sync:
    if operation is None:
        told = "it did not end well, and its operation has been forgotten"
        return replace(sync, state=SyncState.FAILED, message=told)
    state = _ENDED.get(operation.state)
    if state is None:
        running = operation.state is OperationState.RUNNING
        return replace(sync, state=SyncState.RUNNING if running else SyncState.PENDING)
    error = operation.error
    if error is None:
        return replace(sync, state=state)
    return replace(sync, state=state, reason=error.reason, message=error.message)
