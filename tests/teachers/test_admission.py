from __future__ import annotations

import asyncio

import pytest

from stillroom_registry.errors import ResourceExhausted
from stillroom_server.teachers.admission import WorkAdmission


class Room:
    def __init__(self) -> None:
        self.shed: list[str] = []
        self.admission = WorkAdmission(1000, 10.0, self.shed.append)

    async def refused(self, size: int, seconds_left: float | None = None) -> ResourceExhausted:
        with pytest.raises(ResourceExhausted) as caught:
            async with self.admission.unary(size, seconds_left):
                pass
        return caught.value


@pytest.fixture
def room() -> Room:
    return Room()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_bytes_are_bounded_and_freed_on_every_way_out(room: Room) -> None:
    async with room.admission.unary(900, None):
        error = await room.refused(101)
        assert error.reason == "TEACHER_QUEUE_FULL"
        assert error.retry_after is not None
        with pytest.raises(RuntimeError):
            async with room.admission.unary(100, None):
                raise RuntimeError
    assert room.admission.held == 0
    assert room.shed == ["TEACHER_QUEUE_FULL"]


async def test_one_that_alone_exceeds_the_limit_is_served_alone(room: Room) -> None:
    async with room.admission.unary(5000, None):
        await room.refused(1)


async def test_who_could_not_be_served_in_time_is_told_at_once(room: Room) -> None:
    room.admission.measured(10, 100.0)  # too little to judge by
    async with room.admission.unary(400, None), room.admission.unary(1, 0.1):
        pass
    room.admission.measured(4990, 0.0)  # with the former: 20 ms a byte
    async with room.admission.unary(400, None):  # 8 s
        async with room.admission.unary(1, 8.5):
            pass
        error = await room.refused(1, 5.0)
        assert error.reason == "TEACHER_TOO_BUSY"
        assert error.retry_after == pytest.approx(3.0)
        async with room.admission.unary(200, None):  # 12 s by now
            assert (await room.refused(1)).retry_after == pytest.approx(2.0)


async def test_streams_wait_in_turn_and_leave_half_to_others(room: Room) -> None:
    admission, order = room.admission, list[str]()
    leave = asyncio.Event()

    async def item(name: str, size: int) -> None:
        async with admission.stream(size):
            order.append(name)
            await leave.wait()

    tasks = [asyncio.create_task(item(name, 200)) for name in "abcd"]
    await settle()
    assert order == ["a", "b"]
    async with admission.unary(600, None):  # the other half and a bit is free
        pass
    tasks[2].cancel()
    await settle()
    leave.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a", "b", "d"]
    assert admission.held == 0


async def test_an_item_cancelled_as_it_is_let_in_gives_its_room_back(room: Room) -> None:
    admission = room.admission

    async def item() -> None:
        async with admission.stream(500):
            await asyncio.Event().wait()

    first, second, third = (asyncio.create_task(item()) for _ in range(3))
    await settle()
    first.cancel()
    await asyncio.sleep(0)  # the first is gone, the second let in but not yet running
    second.cancel()
    await settle()
    assert admission.held == 500
    third.cancel()
    await settle()
    assert admission.held == 0


async def test_the_speed_is_that_of_late(room: Room) -> None:
    for _ in range(100):
        room.admission.measured(10_000, 100.0)
    for _ in range(100):
        room.admission.measured(10_000, 50.0)
    async with room.admission.unary(100, None):
        assert room.admission.seconds_ahead == pytest.approx(0.5, rel=0.1)
