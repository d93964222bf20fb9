"""What was measured, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stillroom.bench.histogram import Summary
from stillroom.bench.messages import Messages
from stillroom.bench.plan import Plan
from stillroom.bench.tally import ErrorCount, Tally


@dataclass(frozen=True)
class Report:
    """Counts are of messages begun in the window; rates are a second, of what was answered in it.

    seconds         length of the window
    unanswered      in flight when it was interrupted
    unsent          due in an open loop while too many were in flight
    bytes_sent, bytes_received  of messages, without HTTP/2 framing and headers; a second
    latency         seconds from when a message was sent, or meant to be in an open loop
    failure         the same of messages that failed
    lag             seconds by which an open loop sent late; None in a closed one
    server          mean seconds of a message on the server by phase, as the answers say
    cpu, thread     CPU use of this process, and of its one sending thread: 1.0 is a core
    """

    plan: Plan
    texts_per_message: int
    texts: int
    interrupted: bool
    seconds: float
    begun: int
    answered: int
    failed: int
    unanswered: int
    unsent: int
    messages_per_second: float
    texts_per_second: float
    tokens_per_second: float
    bytes_sent: float
    bytes_received: float
    latency: Summary | None
    failure: Summary | None
    lag: Summary | None
    errors: tuple[ErrorCount, ...]
    server: Mapping[str, float]
    model_versions: tuple[str, ...]
    dimensions: int
    cpu: float
    thread: float

    def plain(self) -> dict[str, Any]:
        """As a JSON value."""
        plan = self.plan
        return {
            "mode": plan.mode,
            "loop": "closed" if plan.rate is None else "open",
            "rate": plan.rate,
            "concurrency": plan.concurrency,
            "connections": plan.connections,
            "texts_per_message": self.texts_per_message,
            "texts": self.texts,
            "model_versions": list(self.model_versions),
            "dimensions": self.dimensions,
            "interrupted": self.interrupted,
            "warm_up_seconds": plan.warm_up,
            "seconds": self.seconds,
            "messages": {
                "begun": self.begun,
                "answered": self.answered,
                "failed": self.failed,
                "unanswered": self.unanswered,
                "unsent": self.unsent,
            },
            "per_second": {
                "messages": self.messages_per_second,
                "texts": self.texts_per_second,
                "tokens": self.tokens_per_second,
                "bytes_sent": self.bytes_sent,
                "bytes_received": self.bytes_received,
            },
            "latency_seconds": self.latency and self.latency.plain(),
            "failure_seconds": self.failure and self.failure.plain(),
            "lag_seconds": self.lag and self.lag.plain(),
            "errors": [asdict(error) for error in self.errors],
            "server_seconds": dict(self.server),
            "client": {"cpu": self.cpu, "thread": self.thread},
        }


def report(plan: Plan, messages: Messages, tally: Tally, interrupted: bool) -> Report:
    """Of a closed ``tally``."""
    seconds = tally.end - tally.start
    done, per = tally.done, (1 / seconds if seconds > 0 else 0.0)
    cpu, thread = tally.shares()
    return Report(
        plan=plan,
        texts_per_message=messages.size,
        texts=messages.texts,
        interrupted=interrupted,
        seconds=seconds,
        begun=tally.begun,
        answered=tally.answered,
        failed=tally.failed,
        unanswered=tally.begun - tally.answered - tally.failed,
        unsent=tally.unsent,
        messages_per_second=done.messages * per,
        texts_per_second=done.texts * per,
        tokens_per_second=done.tokens * per,
        bytes_sent=done.sent * per,
        bytes_received=done.received * per,
        latency=tally.latency.summary(),
        failure=tally.failure.summary(),
        lag=None if plan.rate is None else tally.lag.summary(),
        errors=tuple(sorted(tally.errors.values(), key=lambda error: -error.count)),
        server={name: nanos / 1e9 / max(1, tally.answered) for name, nanos in tally.phases.items()},
        model_versions=tuple(tally.versions),
        dimensions=tally.dimensions,
        cpu=cpu,
        thread=thread,
    )
