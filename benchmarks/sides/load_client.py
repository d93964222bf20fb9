"""The load of ``stillroom bench``: ``... TEXTS MODEL SIZE``; TEXTS is a JSON list, SIZE the texts
a message. Asked

``{"address": a, "concurrency": c, "seconds": s}`` it keeps c messages in flight, and answers the
report of ``stillroom bench --json``;

``{"address": a, "rate": r, "seconds": s}`` it sends r messages a second, whatever the server does,
and adds ``recovery``: the seconds from the end of the load to the first answer to a caller who
keeps asking.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.worker import answer
from stillroom import AsyncClient, StillroomError
from stillroom.bench.messages import Messages, make_messages
from stillroom.bench.plan import make_plan
from stillroom.bench.run import bench
from stillroom.bench.tally import Tally
from stillroom.connection import resolve
from stillroom.v1.embedding_service_pb2 import EmbedOptions

MOST_IN_FLIGHT = 10_000
ANSWER_SECONDS = 30.0
ASK_SECONDS = 0.02
WARM_UP = 1.0


async def load(
    address: str, texts: list[str], messages: Messages, model: str, request: dict[str, Any]
) -> dict[str, Any]:
    """One load, reported."""
    rate = request.get("rate")
    plan = make_plan(
        concurrency=request.get("concurrency", MOST_IN_FLIGHT),
        rate=rate,
        duration=request["seconds"],
        warm_up=WARM_UP,
        timeout=ANSWER_SECONDS,
    )
    recovering: asyncio.Task[float] | None = None

    def watch(tally: Tally, _now: float) -> None:
        nonlocal recovering
        if recovering is None:
            asking = recovery(address, texts[: messages.size], model, tally.end)
            recovering = asyncio.create_task(asking)

    connection = resolve(
        address,
        token=None,
        tls=None,
        root_certificates=None,
        client_certificate=None,
        client_key=None,
        allow_insecure=False,
        environment={},
    )
    report = await bench(connection, plan, messages, watch=watch)
    assert report is not None
    found = report.plain()
    if rate is not None and recovering is not None:
        found["recovery"] = await recovering
    elif recovering is not None:
        recovering.cancel()
    return found


async def recovery(address: str, texts: list[str], model: str, end: float) -> float:
    """Seconds from ``end``, of the clock ``time.perf_counter``, to an answer."""
    async with AsyncClient(address) as client:
        await asyncio.sleep(max(0.0, end - time.perf_counter()))
        while True:
            with suppress(StillroomError):
                await client.embed(texts, model=model)
                return time.perf_counter() - end
            await asyncio.sleep(ASK_SECONDS)


def main(texts: list[str], model: str, size: int) -> None:
    """Answers."""
    messages = make_messages(texts, size, "unary", model, EmbedOptions())

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        return uvloop.run(load(request["address"], texts, messages, model, request))

    answer(handle)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3]))
