"""Stream items worked on at once, answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NamedTuple, TypeAlias


class Pending(NamedTuple):
    """An answer that is being worked on; ``size`` is the most bytes that it will have."""

    answer: asyncio.Task[bytes]
    size: int


Started: TypeAlias = bytes | Pending

LARGE_BYTES = 2048
"""Of a request whose answer takes some 0.3 ms or more: meanwhile gRPC can bring the next one."""


async def in_order(
    requests: AsyncIterator[bytes],
    start: Callable[[bytes], Awaitable[Started]],
    *,
    window: int,
    max_bytes: int,
) -> AsyncGenerator[bytes, None]:
    """The answer of each request, in the order of the requests.

    ``start`` answers at once, or with work that goes on while further requests are read: up to
    ``window`` of them, and while the answers ahead have fewer than ``max_bytes``. Where nothing is
    pending, one more is read while a large one is answered; reading after a small one costs no
    task. Closing it cancels what is pending.
    """
    pending: deque[Pending] = deque()
    reading: asyncio.Task[bytes] | None = None
    ended = False
    try:
        while pending or not ended:
            if not pending:
                try:
                    data = await (anext(requests) if reading is None else reading)
                except StopAsyncIteration:
                    return
                reading = None
                if len(data) >= LARGE_BYTES and window > 1:
                    reading = asyncio.create_task(_next(requests))
                    await asyncio.sleep(0)  # lets it begin: ``start`` may not give way
                started = await start(data)
                if isinstance(started, bytes):
                    yield started
                else:
                    pending.append(started)
                continue
            first = pending[0].answer
            room = len(pending) < window and sum(each.size for each in pending) < max_bytes
            if not first.done() and room and not ended:
                if reading is None:
                    reading = asyncio.create_task(_next(requests))
                await asyncio.wait((reading, first), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    done, reading = reading, None
                    try:
                        pending.append(await _pending(start, done.result()))
                    except StopAsyncIteration:
                        ended = True
                continue
            yield await first
            pending.popleft()
    finally:
        for task in (reading, *(each.answer for each in pending)):
            if task is not None:
                task.cancel()


async def _pending(start: Callable[[bytes], Awaitable[Started]], data: bytes) -> Pending:
    started = await start(data)
    if isinstance(started, Pending):
        return started
    answer = asyncio.create_task(_ready(started))
    return Pending(answer, len(started))


async def _ready(data: bytes) -> bytes:
    return data


async def _next(requests: AsyncIterator[bytes]) -> bytes:
    return await anext(requests)
