"""The thread beside an executor: extends its lease, writes its progress, brings it bad news."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.leases import OperationLeases
from stillroom_server.operations.model import LeaseLost
from stillroom_server.operations.settings import OperationsSettings

_log = logging.getLogger(__name__)


class Keeper:
    """Keeps one claim, ``beat`` by ``beat``; ``start`` has a thread call it every tick.

    A database that cannot be written is waited for as long as the lease lasts. After that another
    runner may own the operation, so the attempt counts as lost.
    """

    def __init__(
        self,
        store: OperationLeases,
        control: AttemptControl,
        settings: OperationsSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._control = control
        self._settings = settings
        self._clock = clock
        self._last_beat = clock()
        self._last_progress = float("-inf")
        self._version: int | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        name = f"keeper-{self._control.claim.operation_id}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def end(self) -> None:
        """No more beats, except one that has begun; it can do no harm."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._settings.tick_seconds):
            self._control.meter.sample()
            self.beat()

    def beat(self) -> None:
        """Write what there is to write, at most one transaction; never raises."""
        now = self._clock()
        due = now - self._last_progress >= self._settings.progress_seconds
        progress = self._control.take_progress() if due else None
        try:
            if progress is not None or now - self._last_beat >= self._settings.heartbeat_seconds:
                cancel = self._store.heartbeat(self._control.claim, progress)
                self._last_beat = now
                if progress is not None:
                    self._last_progress = now
            else:
                version = self._store.data_version()
                if version == self._version:
                    return
                cancel = self._store.cancel_requested(self._control.claim)
                self._version = version
        except LeaseLost:
            self._control.lose(now)
        except Exception as error:
            self._control.return_progress()
            self._survive(error, now)
        else:
            if cancel:
                self._control.ask_cancel(now)

    def _survive(self, error: Exception, now: float) -> None:
        silent = now - self._last_beat
        _log.warning(
            "cannot write the heartbeat of operation %s for %.1f s: %s",
            self._control.claim.operation_id,
            silent,
            error,
        )
        if silent >= self._settings.lease_seconds:
            self._control.lose(now)
