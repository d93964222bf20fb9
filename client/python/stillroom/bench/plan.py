"""What load to make, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from stillroom._protocol.rpcs import EMBED, EMBED_STREAM, Rpc
from stillroom.errors import InvalidArgument
from stillroom.internal.v1.embedding_wire_pb2 import WireEmbedResponse

RPCS: dict[str, Rpc[Any, WireEmbedResponse]] = {"unary": EMBED, "stream": EMBED_STREAM}
DURATION = 10.0
WARM_UP = 1.0
CLOSED_CONCURRENCY = 8
OPEN_CONCURRENCY = 1000
_DAY = 86_400.0


@dataclass(frozen=True)
class Plan:
    """Messages of load and when they are sent.

    mode         "unary": a call a message. "stream": a stream a connection, answered in order
    concurrency  messages in flight over all connections: so many in a closed loop, at most so
                 many in an open one, where those due beyond are not sent
    rate         None: a closed loop, the next message follows an answer. Else messages a second
                 of an open loop
    duration     seconds of the measurement; None when ``messages`` says its end
    warm_up      seconds of the same load before it
    timeout      seconds for an answer; None waits forever
    """

    mode: str
    concurrency: int
    connections: int
    rate: float | None
    duration: float | None
    messages: int | None
    warm_up: float
    timeout: float | None


def make_plan(
    *,
    mode: str = "unary",
    concurrency: int | None = None,
    connections: int = 1,
    rate: float | None = None,
    duration: float | None = None,
    messages: int | None = None,
    warm_up: float = WARM_UP,
    timeout: float | None = None,
) -> Plan:
    """Fills in what is None and checks all; InvalidArgument names the argument."""
    if mode not in RPCS:
        raise InvalidArgument(f"mode is {mode!r}; it must be {' or '.join(RPCS)}", field="mode")
    if duration is not None and messages is not None:
        raise InvalidArgument("give duration or messages, not both", field="messages")
    if duration is None and messages is None:
        duration = DURATION
    if concurrency is None:
        concurrency = max(connections, OPEN_CONCURRENCY if rate else CLOSED_CONCURRENCY)
    _within(concurrency, 1, 10_000, "concurrency")
    _within(connections, 1, min(concurrency, 256), "connections")
    _within(rate, 1e-3, 1e6, "rate")
    _within(duration, 1e-3, 30 * _DAY, "duration")
    _within(messages, 1, 10**12, "messages")
    _within(warm_up, 0, _DAY, "warm_up")
    _within(timeout, 1e-3, math.inf, "timeout")
    return Plan(mode, concurrency, connections, rate, duration, messages, warm_up, timeout)


def _within(value: float | None, low: float, high: float, field: str) -> None:
    # Not a number is within nothing.
    if value is not None and not low <= value <= high:
        raise InvalidArgument(
            f"{field} is {value:g}; it must be {low:g} to {high:,.10g}", field=field
        )
