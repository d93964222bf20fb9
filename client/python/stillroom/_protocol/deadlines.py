"""When to give up: deadlines that never refill, and pauses between attempts that grow."""

from __future__ import annotations

from collections.abc import Callable

from stillroom.errors import DeadlineExceeded, StillroomError


class Deadline:
    """A moment ``seconds`` from now on ``clock``; None is never."""

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def remaining(self) -> float | None:
        """Seconds left, None without a deadline; DeadlineExceeded when it has passed."""
        if self._end is None:
            return None
        left = self._end - self._clock()
        if left <= 0:
            raise DeadlineExceeded("the time given for this call is over", reason="TIMEOUT")
        return left


class Backoff:
    """How long to pause before the next attempt, and when there is none.

    Pauses double from ``base`` to ``cap`` seconds, each cut by up to half at random so that clients
    of a restarted server do not come back at once. Until the server was ``reached`` there are only
    ``first_attempts``: the address is probably wrong. After that, ``attempts`` without progress,
    which outlasts a restart.
    """

    def __init__(
        self,
        jitter: Callable[[], float],
        *,
        base: float = 0.2,
        cap: float = 8.0,
        first_attempts: int = 3,
        attempts: int = 10,
    ) -> None:
        self._jitter = jitter
        self._base = base
        self._cap = cap
        self._allowed = first_attempts
        self._attempts = attempts
        self._failures = 0

    def reached(self) -> None:
        """The server is there, though nothing was achieved yet."""
        self._allowed = self._attempts

    def progressed(self) -> None:
        """Something was achieved: start counting anew."""
        self._failures = 0
        self.reached()

    def pause(self, error: StillroomError) -> float:
        """Seconds to wait after ``error``, at least what the server asked for; raises it when it
        was the last attempt."""
        self._failures += 1
        if self._failures >= self._allowed:
            raise error
        delay = min(self._cap, self._base * 2.0 ** (self._failures - 1))
        return max(delay * (1 - self._jitter() / 2), error.retry_after or 0.0)
