"""A whole measurement: connect, try, warm up, measure, report."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from stillroom.bench.driver import Ask, Clock, Driver, Sleep
from stillroom.bench.lanes import Lane, connected
from stillroom.bench.messages import Messages
from stillroom.bench.plan import Plan
from stillroom.bench.report import Report, report
from stillroom.bench.tally import Tally, Usage
from stillroom.connection import Connection
from stillroom.errors import ResourceExhausted

# Gets the tally and the time on its clock, now and then.
Watch = Callable[[Tally, float], None]

_WATCH_EVERY = 0.25


def usage() -> tuple[float, float]:
    """CPU seconds of this process and of this thread."""
    return time.process_time(), time.thread_time()


async def bench(
    connection: Connection,
    plan: Plan,
    messages: Messages,
    *,
    stop: asyncio.Event | None = None,
    watch: Watch | None = None,
) -> Report | None:
    """Measures the server at ``connection`` as ``plan`` says; ``stop`` ends it early, and answers
    None when that was before the load began.

    One message goes over each connection first: it connects, brings the model into memory, and
    raises its error, since a load of requests that cannot succeed measures nothing. A server that
    is busy may refuse it.
    """
    async with connected(connection, plan) as lanes:
        trial = asyncio.create_task(_try(lanes, messages))
        if not await _done_before(stop, trial):
            return None
        trial.result()
        return await measure(plan, messages, [lane.ask for lane in lanes], stop=stop, watch=watch)


async def measure(
    plan: Plan,
    messages: Messages,
    lanes: Sequence[Ask],
    *,
    stop: asyncio.Event | None = None,
    watch: Watch | None = None,
    clock: Clock = time.perf_counter,
    sleep: Sleep = asyncio.sleep,
    usage: Usage = usage,
) -> Report:
    """The measurement alone, over functions that answer bytes with bytes."""
    start = clock() + plan.warm_up
    end = math.inf if plan.duration is None else start + plan.duration
    tally = Tally(start, end, usage, plan.messages)
    driver = Driver(plan, messages, lanes, tally, clock, sleep)
    load = asyncio.create_task(driver.run())
    watching = None if watch is None else asyncio.create_task(_watching(watch, tally, clock))
    try:
        whole = await _done_before(stop, load, lambda: tally.close(clock()))
        if whole:
            load.result()
            tally.close(clock() if plan.duration is None else tally.end)
        return report(plan, messages, tally, interrupted=not whole)
    finally:
        if watching is not None:
            watching.cancel()


async def _try(lanes: Sequence[Lane], messages: Messages) -> None:
    for lane in lanes:
        with suppress(ResourceExhausted):
            messages.answer(await lane.ask(messages.at(0)))


async def _done_before(
    stop: asyncio.Event | None, task: asyncio.Task[None], stopped: Callable[[], None] | None = None
) -> bool:
    """Whether ``task`` is done before ``stop`` is set; otherwise ``stopped`` is called, and the
    task is cancelled and has ended."""
    stopping = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return True
        if stopped is not None:
            stopped()
        return False
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _watching(watch: Watch, tally: Tally, clock: Clock) -> None:
    while True:
        watch(tally, clock())
        await asyncio.sleep(_WATCH_EVERY)
