"""Tells an engine that hangs from one that works.

A dead engine is seen by its exit; one that is stopped, or waits for a lock that nobody will give
back, is alive to the system and answers nobody. What counts as life: a report of an engine that has
nothing queued or has computed a batch since the last one.
"""

from __future__ import annotations

from collections.abc import Callable

from stillroom_server.teachers.values import EngineReport


class Watchdog:
    """An engine with work that shows no life for ``seconds`` hangs; ``clock`` never goes back."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = clock()

    def rest(self) -> None:
        """There is nothing to wait for: no engine, or no work."""
        self._last = self._clock()

    def heard(self, report: EngineReport) -> None:
        """The engine answered."""
        # Tokenizing and loading are not queued for a batch: answering is enough then.
        if report.batches or not report.requests:
            self._last = self._clock()

    def hangs(self) -> bool:
        """Whether there was no life for too long."""
        return self._clock() - self._last >= self._seconds
