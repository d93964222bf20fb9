"""Measures a piece of work in this process, phase by phase."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from types import TracebackType

from stillroom_server.cost.ledger.counters import Counters, ProcessCounters
from stillroom_server.cost.ledger.tally import Taken, Tally

_MEMORY_SECONDS = 0.5
_DISK_SECONDS = 5.0

_measuring: set[Meter] = set()
_measuring_lock = threading.Lock()


class Meter:
    """Measures from when it is made until ``end``. Every method is safe in any thread.

    What was taken before the first ``phase`` counts to that phase. ``disk`` tells the bytes on disk
    now. ``sample`` looks at memory of children and at the disk now and then, and may be called
    often. Two that measure at the same time know of each other: the counters are the process's.
    """

    def __init__(
        self,
        disk: Callable[[], int] | None = None,
        *,
        counters: Counters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disk = disk
        self._counters = counters or ProcessCounters()
        self._clock = clock
        self._lock = threading.Lock()
        self._tally = Tally()
        self._name = ""
        self._taken = self._tally.phases.setdefault("", Taken())
        self._wall = clock()
        self._cpu = self._counters.cpu_seconds()
        self._waited = self._counters.waited_seconds()
        self._counters.reset_peak_memory()
        self._memory_time = self._disk_time = self._wall
        with _measuring_lock:
            _measuring.add(self)
            if len(_measuring) > 1:
                for meter in _measuring:
                    meter._tally.shared = True

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def phase(self, name: str) -> None:
        """The work is in this phase from here on; cheap when it was before."""
        if name == self._name:
            return
        disk = self._look_at_disk()
        with self._lock:
            self._settle()
            self._hold(disk)
            phases = self._tally.phases
            if self._name == "" and len(phases) == 1:
                phases[name] = phases.pop("")
            self._name = name
            self._taken = phases.setdefault(name, Taken())
            self._counters.reset_peak_memory()
            self._hold(disk)

    def moved(self, network_bytes: int) -> None:
        """So many more bytes went over the network, in this phase."""
        with self._lock:
            self._taken.network = (self._taken.network or 0) + network_bytes

    def sample(self) -> None:
        """Look at what is only to be seen now."""
        now = self._clock()
        if now - self._memory_time >= _MEMORY_SECONDS:
            self._memory_time = now
            with self._lock:
                self._see_memory(self._counters.memory())
                # Of threads that end, what was not seen before is lost.
                self._see_waiting()
        if now - self._disk_time >= _DISK_SECONDS:
            disk = self._look_at_disk()
            with self._lock:
                self._hold(disk)

    def tally(self) -> Tally:
        """What was taken so far."""
        with self._lock:
            self._settle()
            return copy.deepcopy(self._tally)

    def end(self) -> None:
        """No longer in the way of other meters. Twice is once."""
        with _measuring_lock:
            _measuring.discard(self)

    def _settle(self) -> None:
        """Everything since the last time goes to the current phase."""
        now, cpu = self._clock(), self._counters.cpu_seconds()
        self._taken.wall += now - self._wall
        self._taken.cpu += max(0.0, cpu - self._cpu)
        self._wall, self._cpu = now, cpu
        self._see_memory(self._counters.memory())
        self._see_memory(self._counters.peak_memory())
        self._see_waiting()

    def _see_memory(self, memory: int | None) -> None:
        if memory is not None:
            self._taken.memory = max(self._taken.memory or 0, memory)

    def _see_waiting(self) -> None:
        if self._waited is not None:
            waited = self._counters.waited_seconds()
            self._tally.waited = None if waited is None else max(0.0, waited - self._waited)

    def _look_at_disk(self) -> int | None:
        """Without the lock: it takes a moment, and a transaction may wait for ``tally``."""
        if self._disk is None:
            return None
        disk = self._disk()
        # After it: a slow disk is not to be walked all the time.
        self._disk_time = self._clock()
        return disk

    def _hold(self, disk: int | None) -> None:
        if disk is not None:
            self._taken.disk = max(self._taken.disk or 0, disk)
