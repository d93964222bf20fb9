"""How fast the cores are at the moment, beside when they were measured.

Neighbors that no counter of this machine shows (other guests of its host, the other thread of a
core, heat) change what work costs in core seconds within minutes. A loop of a millisecond tells.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from stillroom_server.cost.calibration.probes.host import loops
from stillroom_server.cost.calibration.rates import Line

# What slows the interpreter by a factor slowed products, tokenizers and whole phases by this power
# of it: 1.3 to 1.65 where it was 1.83.
_POWER = 0.6
_LEAST, _MOST = 0.6, 3.0
_TURNS = 2  # thousand
_TRIES = 4
_LASTS_SECONDS = 1.0


class Pace:
    """Safe to use from any thread; asked again within a second it answers the same."""

    def __init__(
        self,
        cpu: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu = cpu
        self._clock = clock
        self._lock = threading.Lock()
        self._loop = loops(_TURNS)
        self._seen: tuple[float, float] | None = None

    def factor(self, python: Line) -> float:
        """How many times slower than when ``python``, the line of that name, was measured; within
        0.6 and 3. Takes some 2 ms."""
        expected = python.seconds(_TURNS)
        if expected <= 0:
            return 1.0
        slower = max(0.0, self._now() / expected)
        return min(_MOST, max(_LEAST, math.pow(slower, _POWER)))

    def _now(self) -> float:
        """Core seconds of the loop, the least of a few."""
        with self._lock:
            if self._seen is None or self._clock() - self._seen[0] > _LASTS_SECONDS:
                least = min(self._once() for _ in range(_TRIES))
                self._seen = (self._clock(), least)
            return self._seen[1]

    def _once(self) -> float:
        start = self._cpu()
        self._loop()
        return self._cpu() - start
