"""As many unary calls of one text as a server answers: ``... TEXT MODEL``. Asked
``{"address": a, "concurrency": c, "seconds": s}`` it keeps c calls in flight for s seconds and
answers how many were answered, and the seconds. Nothing but gRPC and a request that is serialized
already.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import grpc
import uvloop

from benchmarks.sides.stream_client import EMBED, request_bytes
from benchmarks.worker import answer


async def saturate(address: str, data: bytes, concurrency: int, seconds: float) -> list[float]:
    """Calls answered within ``seconds`` or begun before their end, and the time until then."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(EMBED, None, None)
        await call(data)  # connects
        started = time.perf_counter()
        end = started + seconds
        calls = 0

        async def loop() -> None:
            nonlocal calls
            while time.perf_counter() < end:
                await call(data)
                calls += 1

        await asyncio.gather(*(loop() for _ in range(concurrency)))
        return [calls, time.perf_counter() - started]


def main(data: bytes) -> None:
    """Answers."""

    def handle(request: dict[str, Any]) -> list[float]:
        return uvloop.run(
            saturate(request["address"], data, request["concurrency"], request["seconds"])
        )

    answer(handle)


if __name__ == "__main__":
    main(request_bytes(sys.argv[1], sys.argv[2]))
