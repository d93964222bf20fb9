"""What became of the messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from stillroom.bench.histogram import Histogram
from stillroom.errors import StillroomError
from stillroom.internal.v1.embedding_wire_pb2 import WireEmbeddings

# CPU seconds used so far: by this process, and by the thread that sends.
Usage = Callable[[], tuple[float, float]]

# Different errors that are told apart, so that a strange server cannot fill memory.
_MOST_ERRORS = 64
_PHASES = ("total", "queue", "tokenize", "infer")


@dataclass
class ErrorCount:
    """How often an error of this code and reason came, and the message of the first."""

    code: str
    reason: str
    message: str
    count: int = 0


class Done:
    """What was done within the window."""

    def __init__(self) -> None:
        self.messages = 0
        self.texts = 0
        self.tokens = 0
        self.sent = 0
        self.received = 0


class Tally:
    """Counts messages around a window of time, ``start`` to ``end`` (infinite until closed).

    Latencies and errors are those of messages that were begun in the window, whenever they ended,
    or slow ones would be missing. Rates count what was answered in the window, whenever it was
    begun, or its edges would bend them. ``most`` bounds the messages that are begun in it.
    """

    def __init__(self, start: float, end: float, usage: Usage, most: int | None = None) -> None:
        self.start = start
        self.end = end
        self._most = math.inf if most is None else most
        self._usage = usage
        self._samples: list[tuple[float, float, float]] = []
        self.in_flight = 0
        self.begun = self.answered = self.failed = self.unsent = 0
        self.latency = Histogram()
        self.failure = Histogram()
        self.lag = Histogram()
        self.done = Done()
        self.errors: dict[tuple[str, str], ErrorCount] = {}
        self.phases = dict.fromkeys(_PHASES, 0)  # nanoseconds on the server
        self.versions: dict[str, None] = {}
        self.dimensions = 0

    def may_begin(self, now: float) -> bool:
        """Whether the load goes on."""
        return now < self.end and self.begun < self._most

    def begin(self, meant: float, now: float) -> None:
        """A message is sent ``now`` that was meant for ``meant``, which decides whether it is of
        the window and from which its latency counts."""
        self.in_flight += 1
        if not self._samples and now >= self.start:
            self._sample(now)
        if self.start <= meant < self.end:
            self.begun += 1
            self.lag.record(now - meant)

    def answer(
        self, meant: float, now: float, answer: WireEmbeddings, texts: int, sent: int, received: int
    ) -> None:
        """The message meant for ``meant`` was answered, with these bytes out and in."""
        self.in_flight -= 1
        if self.start <= meant < self.end:
            self.answered += 1
            self.latency.record(now - meant)
            phases, timings = self.phases, answer.timings
            phases["total"] += timings.total_nanos
            phases["queue"] += timings.queue_nanos
            phases["tokenize"] += timings.tokenize_nanos
            phases["infer"] += timings.infer_nanos
            self.dimensions = answer.vectors.dimensions
            if len(self.versions) < _MOST_ERRORS:
                self.versions[answer.model_version] = None
        if self.start <= now <= self.end:
            done = self.done
            done.messages += 1
            done.texts += texts
            done.tokens += sum(answer.token_counts)
            done.sent += sent
            done.received += received

    def fail(self, meant: float, now: float, error: StillroomError) -> None:
        """The message meant for ``meant`` failed."""
        self.in_flight -= 1
        if not self.start <= meant < self.end:
            return
        self.failed += 1
        self.failure.record(now - meant)
        key = (error.code, error.reason)
        if key not in self.errors and len(self.errors) >= _MOST_ERRORS:
            key = ("UNKNOWN", "OTHERS")
        entry = self.errors.setdefault(key, ErrorCount(*key, error.message))
        entry.count += 1

    def sending_ends(self, now: float) -> None:
        """No more messages will be sent; what the client used is counted until now."""
        if len(self._samples) == 1:
            self._sample(now)

    def close(self, now: float) -> None:
        """The window ends now, unless it ended before."""
        self.sending_ends(now)
        self.end = min(self.end, max(now, self.start))

    def _sample(self, now: float) -> None:
        self._samples.append((now, *self._usage()))

    def seconds(self, now: float) -> float:
        """Of the window that have passed."""
        return max(0.0, min(now, self.end) - self.start)

    def shares(self) -> tuple[float, float]:
        """CPU use of the process and of the sending thread while messages were sent: 1.0 is a
        core."""
        if len(self._samples) < 2:
            return 0.0, 0.0
        (t0, process0, thread0), (t1, process1, thread1) = self._samples
        wall = t1 - t0
        return (
            ((process1 - process0) / wall, (thread1 - thread0) / wall) if wall > 0 else (0.0, 0.0)
        )
