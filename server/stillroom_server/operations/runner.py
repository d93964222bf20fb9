"""Executes operations, one after the other, apart from the server's front process.

python -m stillroom_server.operations.runner --data-dir DIR --settings-json JSON
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from stillroom_registry.errors import StillroomError
from stillroom_server.operations.attempt import Attempt
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.executor import Executor
from stillroom_server.operations.model import LeaseLost
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.workspaces import Workspaces

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 1.0  # leases run out without a commit, so look now and then


class Runner:
    """Claims operations, in turn, and executes each in a thread of its own.

    An executor that does not unwind in time cannot be stopped from within its process. ``run``
    then ends the claim in the database and returns False: the process has to be ended.
    ``on_check`` is called in an executing thread whenever it looks for cancellation.
    """

    def __init__(
        self,
        store: OperationStore,
        executors: Mapping[str, Executor],
        workspaces: Workspaces,
        settings: OperationsSettings,
        worker_name: str,
        *,
        on_check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_check = on_check
        self._store = store
        self._executors = executors
        self._workspaces = workspaces
        self._settings = settings
        self._worker_name = worker_name
        self._clock = clock
        self._active: dict[AttemptControl, threading.Thread] = {}
        self._version: int | None = None
        self._look_time = clock()
        self._busy_time = clock()

    def run(self, stop: threading.Event) -> bool:
        """Work until ``stop`` is set or there was nothing to do for ``idle_seconds``.

        Returns whether every execution has ended by itself.
        """
        swept = self._workspaces.sweep(self._store.unfinished_ids)
        if swept:
            _log.info("removed the workspaces of %d ended operations", len(swept))
        while not stop.is_set():
            self._forget_ended()
            overdue = self._overdue()
            if overdue:
                for control in overdue:
                    self._abandon(control)
                self._stop_active()
                return False
            try:
                self._claim_some()
            except StillroomError as error:
                _log.warning("cannot look for operations: %s", error.message)
            if self._is_idle():
                return True
            stop.wait(_POLL_SECONDS)
        return self._stop_active()

    def _claim_some(self) -> None:
        """Fill the free places, if the database has changed or it is time to look again."""
        if len(self._active) >= self._settings.concurrency:
            return
        now, version = self._clock(), self._store.data_version()
        if version == self._version and now < self._look_time:
            return
        self._look_time = now + _LOOK_SECONDS
        while len(self._active) < self._settings.concurrency:
            claim = self._store.claim(
                self._worker_name,
                self._settings.lease_seconds,
                held={control.claim.operation_id for control in self._active},
            )
            if claim is None:
                self._version = version
                return
            self._start(AttemptControl(claim))

    def _start(self, control: AttemptControl) -> None:
        operation = control.claim.operation
        _log.info(
            "executing operation %s (%s), attempt %d",
            operation.id,
            operation.kind,
            operation.attempt,
        )
        attempt = Attempt(
            control,
            self._executors.get(operation.kind),
            self._store,
            self._workspaces,
            self._settings,
            on_check=self._on_check,
            clock=self._clock,
        )

        def run() -> None:
            outcome = attempt.run()
            _log.info("operation %s: %s", operation.id, outcome)

        thread = threading.Thread(target=run, name=f"operation-{operation.id}", daemon=True)
        self._active[control] = thread
        thread.start()

    def _forget_ended(self) -> None:
        ended = [control for control, thread in self._active.items() if not thread.is_alive()]
        for control in ended:
            del self._active[control]
            self._version = None  # a place is free: look at once

    def _overdue(self) -> list[AttemptControl]:
        """Cancelled or lost executions whose executor still runs after the grace time."""
        latest = self._clock() - self._settings.cancel_grace_seconds
        return [control for control in self._active if control.should_have_ended(latest)]

    def _abandon(self, control: AttemptControl) -> None:
        operation_id = control.claim.operation_id
        _log.warning("operation %s does not unwind; its process ends", operation_id)
        self._active.pop(control)
        try:
            self._store.cancel(control.claim, progress=control.progress)
        except LeaseLost:
            return  # Another attempt has it, or it has just ended by itself.
        except StillroomError as error:
            # The claim dies with this process; whoever finds it then cancels the operation.
            _log.warning("cannot write the end of operation %s: %s", operation_id, error.message)
            return
        self._workspaces.remove(operation_id)

    def _stop_active(self) -> bool:
        """Have every execution release its operation; release for those that do not in time."""
        for control in self._active:
            control.ask_stop()
        deadline = self._clock() + self._settings.stop_grace_seconds
        for thread in self._active.values():
            thread.join(max(0.0, deadline - self._clock()))
        self._forget_ended()
        for control in self._active:
            try:
                self._store.release(control.claim, progress=control.progress)
            except StillroomError as error:
                _log.warning("%s", error.message)
        return not self._active

    def _is_idle(self) -> bool:
        now = self._clock()
        if self._active:
            self._busy_time = now
        return now - self._busy_time >= self._settings.idle_seconds


if __name__ == "__main__":
    from stillroom_server.operations.process import main

    main()
