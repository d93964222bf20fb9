"""What an executor is handed: its workspace, and its only way to the operation's record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import sqlalchemy as sa

from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.leases import OperationLeases
from stillroom_server.operations.model import CancelRequested, GivesWay, Json
from stillroom_server.operations.progress import ProgressMeter


class OperationContext:
    """One attempt as its executor sees it; use it from one thread at a time.

    ``workspace`` is a folder of the operation's own. It lasts from attempt to attempt and is
    removed when the operation has ended. Write to a new name, rename when whole, after ``confirm``.
    """

    def __init__(
        self,
        store: OperationLeases,
        control: AttemptControl,
        workspace: Path,
        phases: tuple[str, ...],
        *,
        slice_seconds: float = float("inf"),
        on_check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_check = on_check
        self._clock = clock
        self._slice_end = clock() + slice_seconds
        self._store = store
        self._control = control
        self._meter = ProgressMeter(phases, clock)
        self.workspace = workspace
        self.succeed_called = False

    @property
    def operation_id(self) -> str:
        return self._control.claim.operation_id

    @property
    def attempt(self) -> int:
        """The fencing number: larger than that of every attempt before."""
        return self._control.claim.attempt

    def expect(self, shares: Mapping[str, float]) -> None:
        """Say which of the executor's phases this request has, in their order, and about what share
        of its time each takes; without this, all of them, of equal length."""
        self._meter.expect(shares)

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        """Tell how far ``phase`` is: ``done`` of ``total`` units (total 0: not known).

        Touches no disk and may be called in a tight loop: the newest is written a few times a
        second, and in any case the last one. Raises ValueError for an undeclared phase.
        """
        progress = self._meter.update(phase, done, total, unit, message)
        self._control.meter.phase(phase)
        self._control.offer_progress(progress)

    def moved(self, network_bytes: int) -> None:
        """Tell that so many more bytes went over the network; without this, what an operation moved
        is unknown. Cheap, as ``progress``."""
        self._control.meter.moved(network_bytes)

    def check_cancelled(self) -> None:
        """Raise when the executor should unwind; let it through. Cheap: call it often.

        Raises CancelRequested or RunnerStopping (both Cancelled), or LeaseLost.
        """
        self._on_check()
        self._control.check()

    def give_way(self) -> None:
        """For the moment after a checkpoint: end this attempt if it had its time slice and others
        wait for theirs. Raises GivesWay; let it through."""
        if self._clock() >= self._slice_end and self._store.others_wait():
            raise GivesWay(self.operation_id)

    def confirm(self) -> None:
        """Ask the database itself; for the moment before a checkpoint gets its name. About 1 ms.

        Raises like ``check_cancelled``.
        """
        if self._store.cancel_requested(self._control.claim):
            raise CancelRequested(self.operation_id)
        self._control.check()

    def guard(self, connection: sa.Connection) -> None:
        """Raise LeaseLost or CancelRequested inside a write transaction, which so rolls back.

        When it does not raise, no other attempt can begin before the transaction has ended.
        """
        if self._store.guard(connection, self._control.claim):
            raise CancelRequested(self.operation_id)

    def succeed(self, connection: sa.Connection, result: Json) -> None:
        """End the operation in the transaction of its effect: both are committed, or neither.

        Raises like ``guard``.
        """
        self._store.succeed(
            self._control.claim, result, connection, progress=self._control.progress
        )
        self.succeed_called = True
