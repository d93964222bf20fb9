"""What every flow takes first: the transport, the client's settings, time and randomness."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from stillroom._protocol.deadlines import Backoff, Deadline
from stillroom._protocol.rpcs import A, Q, Rpc
from stillroom._transport.base import Transport


def _uuid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Core:
    """``timeout`` is in seconds for each unary call, None for no limit."""

    transport: Transport
    timeout: float | None = None
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    new_id: Callable[[], str] = _uuid

    async def call(self, rpc: Rpc[Q, A], request: Q) -> A:
        """One unary call within the client's timeout."""
        return await self.transport.unary(rpc, request, self.timeout)

    def deadline(self, seconds: float | None) -> Deadline:
        """A deadline that starts now."""
        return Deadline(seconds, self.clock)

    def backoff(self) -> Backoff:
        """Pauses of one flow."""
        return Backoff(self.jitter)
