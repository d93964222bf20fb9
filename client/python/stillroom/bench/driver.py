"""Sending: in a closed loop, where an answer makes room for the next message, or in an open one,
where a clock does.

A closed loop slows down with its server, and so never shows what a queue would do to users. An open
loop does not: latency counts from when a message was meant to be sent, and so includes whatever
kept it waiting (Tene's "coordinated omission").
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from stillroom.bench.messages import Messages
from stillroom.bench.pace import Pace, admit, overlap
from stillroom.bench.plan import Plan
from stillroom.bench.tally import Tally
from stillroom.errors import StillroomError, Unavailable

Ask = Callable[[bytes], Awaitable[bytes]]
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_MOST_PATIENCE = 1.0
_UNREACHABLE = 0.1


def pause_after(error: StillroomError) -> float:
    """Seconds before a closed loop goes on after ``error``: what the server asked for, within a
    second; and a server that cannot be reached is not asked in a busy loop."""
    asked = error.retry_after or (_UNREACHABLE if isinstance(error, Unavailable) else 0.0)
    return min(asked, _MOST_PATIENCE)


class Driver:
    """Sends ``messages`` over ``lanes`` in turn, as ``plan`` says, and tells ``tally``."""

    def __init__(
        self,
        plan: Plan,
        messages: Messages,
        lanes: Sequence[Ask],
        tally: Tally,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self._plan = plan
        self._messages = messages
        self._lanes = lanes
        self._tally = tally
        self._clock = clock
        self._sleep = sleep
        self._sent = 0

    async def run(self) -> None:
        """Returns when all that was sent is answered or failed."""
        if self._plan.rate is None:
            await self._closed()
        else:
            await self._open(self._plan.rate)

    async def _closed(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for place in range(self._plan.concurrency):
                tasks.create_task(self._worker(self._lanes[place % len(self._lanes)]))

    async def _worker(self, ask: Ask) -> None:
        while self._tally.may_begin(now := self._clock()):
            self._tally.begin(now, now)
            error = await self._one(ask, self._next(), now)
            if error is not None and (pause := pause_after(error)):
                await self._sleep(pause)
        self._tally.sending_ends(now)

    async def _open(self, rate: float) -> None:
        plan, tally = self._plan, self._tally
        now = self._clock()
        pace = Pace(tally.start - plan.warm_up, rate)
        first = pace.before(tally.start)  # of the window
        last = pace.before(tally.end) if plan.messages is None else first + plan.messages
        index = 0
        async with asyncio.TaskGroup() as tasks:
            while index < last:
                due = min(pace.due(now), last)
                sent = index + admit(due - index, tally.in_flight, plan.concurrency)
                for each in range(index, sent):
                    meant = pace.time_of(each)
                    tally.begin(meant, now)
                    ask = self._lanes[each % len(self._lanes)]
                    tasks.create_task(self._one(ask, self._next(), meant))
                tally.unsent += overlap(sent, due, first, last)
                index = due
                if index < last:
                    await self._sleep(pace.wait(index, now))
                    now = self._clock()
            tally.sending_ends(now)

    def _next(self) -> bytes:
        self._sent += 1
        return self._messages.at(self._sent - 1)

    async def _one(self, ask: Ask, data: bytes, meant: float) -> StillroomError | None:
        now = None
        try:
            received = await ask(data)
            now = self._clock()  # before the answer is parsed: that is not the server's time
            answer = self._messages.answer(received)
        except StillroomError as error:
            self._tally.fail(meant, self._clock() if now is None else now, error)
            return error
        size = self._messages.size
        self._tally.answer(meant, now, answer, size, len(data), len(received))
        return None
