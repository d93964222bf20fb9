"""Stream items worked on at once, answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias


class Pending(NamedTuple):
    """An answer that is being worked on; ``size`` is the most bytes that it will have."""

    answer: asyncio.Task[bytes]
    size: int


class Joint(NamedTuple):
    """An item that is sooner answered together with those behind it, which takes ``cost`` of what
    may be done at once; ``size`` as of Pending."""

    item: Any
    cost: int
    size: int


Started: TypeAlias = bytes | Pending | Joint
Finish: TypeAlias = Callable[[list[Any]], list[bytes]]

LARGE_BYTES = 2048
"""Of a request whose answer takes some 0.3 ms or more: meanwhile gRPC can bring the next one."""
PATIENCE_SECONDS = 0.0005
"""How long a joint item waits for the next one, of a caller who sends ahead: then the next one is
there and needs but a turn of the event loop or two."""

_TURNS = 3


def _finish_none(items: list[Any]) -> list[bytes]:
    raise TypeError(f"{len(items)} joint items, and nothing to finish them")


async def in_order(
    requests: AsyncIterator[bytes],
    start: Callable[[bytes], Awaitable[Started]],
    *,
    window: int,
    max_bytes: int,
    finish: Finish = _finish_none,
    max_cost: int = 0,
    patience: float = PATIENCE_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """The answer of each request, in the order of the requests.

    ``start`` answers at once, or with work that goes on while further requests are read: up to
    ``window`` of them, and while the answers ahead have fewer than ``max_bytes``. Where nothing is
    pending, one more is read while a large one is answered; reading after a small one costs no
    task. Large joint items that are there by then are finished together, as many as come to
    ``max_cost`` and ``max_bytes``; none are with a ``window`` of 1. Closing it cancels what is
    pending.
    """
    pending: deque[Pending] = deque()
    reader = _Reader(requests)
    held: Started | None = None
    several = ended = False  # several: the last items were finished together
    try:
        while pending or held is not None or not ended:
            if not pending:
                sent_ahead = several or held is not None or reader.arrived()
                if held is not None:
                    started, held = held, None
                else:
                    try:
                        data = await reader.next()
                    except StopAsyncIteration:
                        return
                    if len(data) >= LARGE_BYTES and window > 1:
                        await reader.ahead()
                    started = await start(data)
                if isinstance(started, bytes):
                    yield started
                elif isinstance(started, Pending):
                    pending.append(started)
                else:
                    group = [started]
                    while held is None and reader.reading is not None:
                        if sent_ahead:
                            await _soon(reader.reading, patience)
                        if not reader.arrived():
                            break
                        data = await reader.next()
                        await reader.ahead()
                        held = await start(data)
                        if isinstance(held, Joint) and _fits(group, held, max_cost, max_bytes):
                            group.append(held)
                            held = None
                    several = len(group) > 1
                    for answer in finish([each.item for each in group]):
                        yield answer
                continue
            first = pending[0].answer
            room = len(pending) < window and sum(each.size for each in pending) < max_bytes
            if not first.done() and room and not ended:
                reading = await reader.ahead()
                await asyncio.wait((reading, first), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    try:
                        data = await reader.next()
                    except StopAsyncIteration:
                        ended = True
                    else:
                        pending.append(_as_pending(await start(data), finish))
                continue
            yield await first
            pending.popleft()
    finally:
        for task in (reader.reading, *(each.answer for each in pending)):
            if task is not None:
                task.cancel()


class _Reader:
    """Requests, of which one may be read ahead by the task ``reading``."""

    def __init__(self, requests: AsyncIterator[bytes]) -> None:
        self._requests = requests
        self.reading: asyncio.Task[bytes] | None = None

    async def next(self) -> bytes:
        """Raises StopAsyncIteration after the last one."""
        if self.reading is None:
            return await anext(self._requests)
        data = await self.reading
        self.reading = None
        return data

    async def ahead(self) -> asyncio.Task[bytes]:
        """Begins to read the next one, unless it was begun."""
        if self.reading is None:
            self.reading = asyncio.create_task(_next(self._requests))
            await asyncio.sleep(0)  # lets it begin: what follows may not give way
        return self.reading

    def arrived(self) -> bool:
        """Whether ``next`` answers at once, with a request."""
        task = self.reading
        return task is not None and task.done() and not (task.cancelled() or task.exception())


async def _soon(task: asyncio.Task[bytes], patience: float) -> None:
    """Waits for a task that a turn of the event loop or two may end; a wait costs several."""
    for _ in range(_TURNS):
        if task.done():
            return
        await asyncio.sleep(0)
    if not task.done():
        await asyncio.wait((task,), timeout=patience)


def _fits(group: Sequence[Joint], other: Joint, max_cost: int, max_bytes: int) -> bool:
    cost, size = (sum(each) for each in zip(*(g[1:] for g in group), strict=True))
    return cost + other.cost <= max_cost and size + other.size <= max_bytes


def _as_pending(started: Started, finish: Finish) -> Pending:
    if isinstance(started, Pending):
        return started
    if isinstance(started, Joint):
        (started,) = finish([started.item])
    answer = asyncio.create_task(_ready(started))
    return Pending(answer, len(started))


async def _ready(data: bytes) -> bytes:
    return data


async def _next(requests: AsyncIterator[bytes]) -> bytes:
    return await anext(requests)
