"""Hashing what is stored again in the background, the longest unseen first, at a bounded rate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from stillroom_registry.errors import Cancelled, StillroomError
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion, system_clock

_log = logging.getLogger(__name__)
_LIMIT = 100


class Scrubber:
    """Verifies the versions with bytes that nobody looked at for ``interval``.

    It reads at most ``bytes_per_second``: after each piece it waits for as long as that rate wants,
    by ``wait``, which answers whether to stop. ``stop`` may be called from any thread.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        interval: timedelta,
        bytes_per_second: float,
        now: Callable[[], datetime] = system_clock,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._registry = registry
        self._interval = interval
        self._rate = bytes_per_second
        self._now = now
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._ended: datetime | None = None

    @property
    def last_round(self) -> datetime | None:
        """When all that was due had last been verified; None before the first time."""
        return self._ended

    def stop(self) -> None:
        """Ends a round that is under way, within the time of one piece."""
        self._stop.set()

    def run(self) -> int:
        """One round: verifies all that is due; how many versions were.

        Blocks for as long as that takes. Raises Cancelled when it was stopped.
        """
        due = self._now() - self._interval
        seen: set[str] = set()
        while True:
            # What was verified is due no more, unless its verdict could not be written.
            found = self._registry.due_for_verification(due, _LIMIT)
            new = [version for version in found if version.name not in seen]
            if not new:
                self._ended = self._now()
                return len(seen)
            for version in new:
                seen.add(version.name)
                self._verify(version)

    def _verify(self, version: ModelVersion) -> None:
        started = self._clock()

        def pace(done: int) -> None:
            ahead = done / self._rate - (self._clock() - started)
            if ahead > 0:
                self._wait(ahead)

        try:
            found = self._registry.verify(version, on_bytes=pace, check=self._check)
        except Cancelled:
            raise
        except (StillroomError, OSError) as error:
            _log.warning("%s could not be verified: %s", version.name, error)
            return
        if found.damaged:
            _log.error(
                "%s is damaged on disk and in quarantine: %s; publish, import or pull the same "
                "files again to restore it",
                version.name,
                ", ".join(file.path for file in found.damaged),
            )

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled("the scrubber was stopped")
