"""What every flow takes first: the transport, the client's settings, time and randomness."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from stillroom._protocol.deadlines import Backoff, Deadline
from stillroom._protocol.limits import ItemLimits
from stillroom._protocol.rpcs import A, Q, Rpc
from stillroom._transport.base import Transport


def _uuid() -> str:
    return str(uuid.uuid4())


class Contact:
    """What a client learned of its server: whether it ever answered, and its limits."""

    def __init__(self) -> None:
        self.made = False
        self.item_limits: ItemLimits | None = None


@dataclass(frozen=True)
class Core:
    """``timeout`` is in seconds for each unary call, None for no limit."""

    transport: Transport
    timeout: float | None = None
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    new_id: Callable[[], str] = _uuid
    contact: Contact = field(default_factory=Contact)

    async def call(self, rpc: Rpc[Q, A], request: Q) -> A:
        """One unary call within the client's timeout."""
        answer = await self.transport.unary(rpc, request, self.timeout)
        self.contact.made = True
        return answer

    async def pages(self, rpc: Rpc[Q, A], request: Q) -> AsyncGenerator[A, None]:
        """The answers to a request for a list, page after page; its page_token is overwritten."""
        asked: Any = request
        while True:
            page: Any = await self.call(rpc, request)
            yield page
            asked.page_token = page.next_page_token
            if not asked.page_token:
                return

    def deadline(self, seconds: float | None) -> Deadline:
        """A deadline that starts now."""
        return Deadline(seconds, self.clock)

    def backoff(self) -> Backoff:
        """Pauses of one flow, which is patient with a server that answered before."""
        backoff = Backoff(self.jitter)
        if self.contact.made:
            backoff.reached()
        return backoff
