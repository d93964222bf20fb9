"""Work in threads and callers that leave."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from queue import Queue

import grpc
import pytest
from serving import serving

from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.server_service_pb2 import GetServerInfoRequest
from stillroom.v1.server_service_pb2_grpc import ServerServiceStub
from stillroom_registry.errors import ResourceExhausted
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.call import to_its_end


def test_a_place_is_held_until_the_work_of_a_caller_who_left_has_ended() -> None:
    admission = Admission(1, 1)
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(60)

    async def request() -> None:
        with admission.request():
            await to_its_end(work)

    async def play() -> None:
        task = asyncio.create_task(request())
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(2):  # a server that stops may cancel once more
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
            assert not task.done()
            with pytest.raises(ResourceExhausted), admission.request():
                pass
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert admission.request.held == 0

    asyncio.run(play())


def test_it_answers_and_raises_what_the_work_does() -> None:
    assert asyncio.run(to_its_end(divmod, 7, 4)) == (1, 3)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(to_its_end(divmod, 7, 0))


def test_a_connection_carries_no_more_calls_than_it_may(tmp_path: Path) -> None:
    """Beyond them its client waits, another connection's does not, and none is refused."""
    with serving(tmp_path, max_calls_per_connection=2) as running:
        # The client learns of the limit with the first answer.
        ServerServiceStub(running.channel).GetServerInfo(GetServerInfoRequest())
        waiting = [
            EmbeddingServiceStub(running.channel).EmbedStream(iter(Queue().get, None))
            for _ in range(2)
        ]
        info = ServerServiceStub(running.channel).GetServerInfo.future(GetServerInfoRequest())
        with grpc.insecure_channel(running.address, [("grpc.use_local_subchannel_pool", 1)]) as new:
            ServerServiceStub(new).GetServerInfo(GetServerInfoRequest(), timeout=60)
        assert not info.done()
        waiting[0].cancel()
        assert info.result(timeout=60).version
        waiting[1].cancel()
