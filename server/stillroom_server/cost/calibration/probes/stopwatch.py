"""Times calls in core seconds, within a time that was allowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

_MOST_REPEATS = 5


class Allowance:
    """Seconds on the clock that may still be spent."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - self._clock())

    def share(self, part: float) -> Allowance:
        """``part`` of what is left, as an allowance of its own."""
        return Allowance(part * self.left, self._clock)

    def at_most(self, seconds: float) -> Allowance:
        """What is left, but no more than that."""
        return Allowance(min(seconds, self.left), self._clock)


class Stopwatch:
    """``cpu`` counts the seconds that are measured: of all threads of this process, or, where the
    work is done by an accelerator, on the clock."""

    def __init__(
        self,
        cpu: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._cpu = cpu
        self._clock = clock

    def once(self, call: Callable[[], object]) -> float:
        """Of one call."""
        start = self._cpu()
        call()
        return self._cpu() - start

    def least(self, call: Callable[[], object], allowed: Allowance) -> float:
        """The least of up to five calls, as others at work take caches and shared cores away from
        single ones; of one at least, and another only while the last would still fit."""
        found: list[float] = []
        lasted = 0.0
        while not found or (len(found) < _MOST_REPEATS and lasted < allowed.left):
            start = self._clock()
            found.append(self.once(call))
            lasted = self._clock() - start
        return min(found)

    def points(
        self,
        sizes: Sequence[int],
        call: Callable[[int], Callable[[], object]],
        allowed: Allowance,
    ) -> list[tuple[int, float]]:
        """(size, least seconds) of ``call(size)()`` for each of ``sizes``, which rise; those that
        by the last one's time would not fit any more are left out. What ``call(size)`` makes ready
        is not timed."""
        found: list[tuple[int, float]] = []
        lasted = 0.0
        for place, size in enumerate(sizes):
            if found and lasted * size / found[-1][0] > allowed.left:
                break
            part = allowed.share(1.0 / (len(sizes) - place))
            ready = call(size)
            start = self._clock()
            ready()  # what the first one alone pays, and how long one takes
            lasted = self._clock() - start
            found.append((size, self.least(ready, part)))
        return found
