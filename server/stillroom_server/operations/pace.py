"""How many threads the runner computes with: all cores while nobody asks anything of the server,
one less while requests arrive. A burner on every core raises a request's p99 several times; one
core of its own leaves it as it was.

The front counts its requests and tells the runner by the pipe that is its standard input, a line
``{"threads": 2}`` whenever the number changes. The runner's executing threads take it over where
they look for cancellation. Results must not depend on it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable

QUIET_SECONDS = 10.0


class Pace:
    """The front's side: ``requests`` counts those ever received, and never falls."""

    def __init__(
        self,
        requests: Callable[[], int],
        *,
        busy_threads: int,
        idle_threads: int,
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._busy, self._idle = busy_threads, idle_threads
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._seen = requests()
        self._last = -float("inf")

    def threads(self) -> int:
        """What the runner may use now; ask a few times a second."""
        now, count = self._clock(), self._requests()
        if count != self._seen:
            self._seen, self._last = count, now
        return self._busy if now - self._last < self._quiet_seconds else self._idle


def message(threads: int) -> bytes:
    """The line that tells a runner."""
    return json.dumps({"threads": threads}).encode() + b"\n"


class ThreadLimit:
    """The runner's side. ``hear`` is for the thread that reads the pipe, ``apply`` for those that
    compute: OpenMP keeps the number for each of them."""

    def __init__(self) -> None:
        self._threads: int | None = None
        self._applied = threading.local()

    def hear(self, line: bytes) -> None:
        """Takes in one line of the front; what is none of ours is left alone."""
        try:
            threads = json.loads(line)["threads"]
        except (ValueError, TypeError, KeyError):
            return
        if isinstance(threads, int) and threads >= 1:
            self._threads = threads

    def apply(self) -> None:
        """Cheap while nothing has changed, and before torch was imported."""
        wanted = self._threads
        if wanted is None or getattr(self._applied, "threads", None) == wanted:
            return
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "set_num_threads"):
            torch.set_num_threads(wanted)
            self._applied.threads = wanted
