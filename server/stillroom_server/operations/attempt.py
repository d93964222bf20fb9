"""One attempt at one operation: run its executor, then write down what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum

from stillroom_registry.errors import (
    Cancelled,
    Internal,
    InvalidArgument,
    NotFound,
    StillroomError,
    Unimplemented,
)
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.executor import Executor
from stillroom_server.operations.failures import describe
from stillroom_server.operations.keeper import Keeper
from stillroom_server.operations.model import (
    CancelRequested,
    GivesWay,
    Json,
    LeaseLost,
    OperationError,
    OperationState,
)
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.workspaces import Workspaces

_log = logging.getLogger(__name__)
_MAX_PAUSE_SECONDS = 2.0


class Outcome(StrEnum):
    """How an attempt ended; RELEASED and LOST leave the operation to a later one."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    LOST = "lost"


_ENDED = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED)


class Attempt:
    """``executor`` None means that this release has none for the operation's kind."""

    def __init__(
        self,
        control: AttemptControl,
        executor: Executor | None,
        store: OperationStore,
        workspaces: Workspaces,
        settings: OperationsSettings,
        *,
        on_check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._control = control
        self._claim = control.claim
        self._executor = executor
        self._store = store
        self._workspaces = workspaces
        self._settings = settings
        self._on_check = on_check
        self._clock = clock
        self._pause = pause
        self._context: OperationContext | None = None

    def run(self) -> Outcome:
        """Execute to an end that is on disk when this returns. Never raises."""
        keeper = Keeper(self._store, self._control, self._settings, clock=self._clock)
        keeper.start()
        try:
            try:
                result = self._execute()
            except BaseException as error:
                self._control.begin_end()
                return self._end_badly(error)
            self._control.begin_end()
            return self._end_well(result)
        finally:
            # Only now: the lease must last until the end is written.
            keeper.end()
            self._control.meter.end()

    def _execute(self) -> Json:
        operation = self._claim.operation
        if self._executor is None:
            raise Unimplemented(
                f"This server cannot execute operations of kind {operation.kind!r}.",
                reason="UNKNOWN_KIND",
            )
        workspace = self._workspaces.make(operation.id)
        self._control.meter = self._store.observer.begin(operation.id, operation.attempt, workspace)
        self._context = OperationContext(
            self._store,
            self._control,
            workspace,
            self._executor.phases,
            slice_seconds=self._settings.slice_seconds,
            on_check=self._on_check,
            clock=self._clock,
        )
        return self._executor.run(operation.request, self._context)

    def _end_well(self, result: Json) -> Outcome:
        if self._context is not None and self._context.succeed_called:
            if self._has_succeeded():
                return self._ended(Outcome.SUCCEEDED)
            return self._fail(
                Internal("The operation's result could not be stored.", reason="RESULT_LOST")
            )
        return self._write(
            Outcome.SUCCEEDED,
            lambda: self._store.succeed(self._claim, result, progress=self._control.progress),
        )

    def _end_badly(self, error: BaseException) -> Outcome:
        operation_id = self._claim.operation_id
        if self._context is not None and self._context.succeed_called and self._has_succeeded():
            _log.warning("operation %s failed after its success", operation_id, exc_info=error)
            return self._ended(Outcome.SUCCEEDED)
        if self._control.lost or isinstance(error, LeaseLost):
            _log.warning("operation %s: attempt %d is lost", operation_id, self._claim.attempt)
            return Outcome.LOST
        if isinstance(error, Cancelled):
            if isinstance(error, CancelRequested) or self._control.cancel_time is not None:
                return self._cancel()
            if self._control.stopping or isinstance(error, GivesWay):
                return self._release(behind=isinstance(error, GivesWay))
        if isinstance(error, StillroomError) and not isinstance(error, Internal):
            _log.info("operation %s failed: %s: %s", operation_id, error.reason, error.message)
        else:
            _log.error("operation %s failed", operation_id, exc_info=error)
        return self._fail(describe(error))

    def _cancel(self) -> Outcome:
        return self._write(
            Outcome.CANCELLED,
            lambda: self._store.cancel(self._claim, progress=self._control.progress),
        )

    def _release(self, *, behind: bool) -> Outcome:
        return self._write(
            Outcome.RELEASED,
            lambda: self._store.release(
                self._claim, progress=self._control.progress, behind=behind
            ),
        )

    def _fail(self, error: StillroomError) -> Outcome:
        stored = OperationError.from_error(error)
        return self._write(
            Outcome.FAILED,
            lambda: self._store.fail(self._claim, stored, progress=self._control.progress),
        )

    def _write(self, outcome: Outcome, write: Callable[[], None]) -> Outcome:
        """Write the end, again and again while the database cannot be written and the lease lasts.

        An end that could not be written at all is LOST: the operation is done once more.
        """
        deadline = self._clock() + self._settings.lease_seconds
        pause = 0.1
        while True:
            try:
                write()
            except LeaseLost as error:
                _log.warning("%s", error.message)
                return Outcome.LOST
            except CancelRequested:
                return self._cancel()
            except InvalidArgument as error:
                _log.error("operation %s: %s", self._claim.operation_id, error.message)
                return self._fail(
                    Internal("The operation's result is no JSON object.", reason="BAD_RESULT")
                )
            except Exception as error:
                _log.warning(
                    "cannot write the end of operation %s: %s", self._claim.operation_id, error
                )
                if self._clock() >= deadline:
                    return Outcome.LOST
                self._pause(pause)
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
            else:
                return self._ended(outcome)

    def _ended(self, outcome: Outcome) -> Outcome:
        if outcome in _ENDED:
            self._workspaces.remove(self._claim.operation_id)
        return outcome

    def _has_succeeded(self) -> bool:
        try:
            operation = self._store.get(self._claim.operation_id)
        except NotFound:
            return True  # Only an ended operation can have been deleted.
        return (
            operation.state is OperationState.SUCCEEDED and operation.attempt == self._claim.attempt
        )
