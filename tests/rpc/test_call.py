"""Work in threads and callers that leave."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stillroom_registry.errors import ResourceExhausted
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.call import to_its_end


def test_a_place_is_held_until_the_work_of_a_caller_who_left_has_ended() -> None:
    admission = Admission(1, 1)
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(30)

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
