"""What the threads around one attempt tell each other. Three separate requests, never mixed up:

- cancel: somebody wants the operation to end for good;
- stop: this runner ends, the operation goes on later;
- lose: the attempt is no longer the owner, whatever it does is void.
"""

from __future__ import annotations

import threading

from stillroom_server.operations.model import (
    CancelRequested,
    Claim,
    LeaseLost,
    Progress,
    RunnerStopping,
)
from stillroom_server.operations.observer import AttemptMeter, NoMeter


class AttemptControl:
    """Flags, newest progress and meter of one attempt; every method is safe in any thread."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.meter: AttemptMeter = NoMeter()
        self._lock = threading.Lock()
        self._cancel_time: float | None = None
        self._stop = False
        self._lost_time: float | None = None
        self._ending = False
        self._progress: Progress | None = None
        self._unwritten = False

    def ask_cancel(self, now: float) -> None:
        """``now`` (monotonic seconds) starts the grace time; later requests do not restart it."""
        with self._lock:
            if self._cancel_time is None:
                self._cancel_time = now

    def ask_stop(self) -> None:
        with self._lock:
            self._stop = True

    def lose(self, now: float) -> None:
        """``now`` (monotonic seconds) starts the grace time, as for ``ask_cancel``."""
        with self._lock:
            if self._lost_time is None and not self._ending:
                self._lost_time = now

    def begin_end(self) -> None:
        """The executor has returned: a lease that ends from here on is the end being written."""
        with self._lock:
            self._ending = True

    @property
    def cancel_time(self) -> float | None:
        return self._cancel_time

    @property
    def stopping(self) -> bool:
        return self._stop

    @property
    def lost(self) -> bool:
        return self._lost_time is not None

    def should_have_ended(self, latest: float) -> bool:
        """Whether the executor still runs though cancelled or lost at ``latest`` or earlier."""
        times = (self._cancel_time, self._lost_time)
        return not self._ending and any(time is not None and time <= latest for time in times)

    def check(self) -> None:
        """Raise LeaseLost, CancelRequested or RunnerStopping when asked for; cheap."""
        if self.lost:
            raise LeaseLost(self.claim)
        if self._cancel_time is not None:
            raise CancelRequested(self.claim.operation_id)
        if self._stop:
            raise RunnerStopping(self.claim.operation_id)

    @property
    def progress(self) -> Progress | None:
        """The newest, written or not."""
        return self._progress

    def offer_progress(self, progress: Progress) -> None:
        with self._lock:
            self._progress = progress
            self._unwritten = True

    def take_progress(self) -> Progress | None:
        """The newest progress if it was not taken yet."""
        with self._lock:
            taken = self._progress if self._unwritten else None
            self._unwritten = False
            return taken

    def return_progress(self) -> None:
        """What was taken could not be written: ``take_progress`` gives the newest once more."""
        with self._lock:
            self._unwritten = self._progress is not None
