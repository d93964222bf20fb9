"""When the messages of an open loop are due: arithmetic alone, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Message ``i`` is due at ``start + i / rate`` seconds, whatever became of those before it."""

    start: float
    rate: float

    def time_of(self, index: int) -> float:
        """When message ``index`` is due."""
        return self.start + index / self.rate

    def before(self, moment: float) -> int:
        """How many messages are due before ``moment``; exact, so that the pauses of ``wait`` always
        lead to the next message."""
        count = max(0, math.ceil((moment - self.start) * self.rate))
        while count > 0 and self.time_of(count - 1) >= moment:
            count -= 1
        while self.time_of(count) < moment:
            count += 1
        return count

    def due(self, now: float) -> int:
        """How many messages are due by ``now``, itself included."""
        return self.before(math.nextafter(now, math.inf))

    def wait(self, index: int, now: float) -> float:
        """Seconds from ``now`` until message ``index`` is due, at least 0."""
        return max(0.0, self.time_of(index) - now)


def admit(due: int, in_flight: int, most: int) -> int:
    """How many of ``due`` messages are sent while ``most`` may be in flight. The others are never
    sent: a queue for them would only hide that the server does not keep up."""
    return max(0, min(due, most - in_flight))


def overlap(first: int, last: int, low: int, high: int) -> int:
    """How many of the numbers ``first`` to ``last`` are within ``low`` to ``high``; both exclude
    their end."""
    return max(0, min(last, high) - max(first, low))
