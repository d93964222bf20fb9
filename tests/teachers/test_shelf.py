from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from teachers.fakes import Clock

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.teachers.shelf import Shelf
from stillroom_server.teachers.values import TeacherFacts


class Loaded:
    def __init__(self, size: int) -> None:
        self.facts = TeacherFacts(dimensions=3, max_tokens=8, memory_bytes=size)


class Loader:
    """Teachers whose size is their folder's name; remembers what it loaded."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str, folder: Path) -> Loaded:
        self.loads.append(name)
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        return Loaded(int(folder.name))


class Room:
    def __init__(self) -> None:
        self.clock = Clock()
        self.loader = Loader()
        self.shelf = Shelf(
            self.loader,
            lambda folder: int(folder.name),
            budget_bytes=100,
            idle_seconds=60,
            retry_seconds=30,
            clock=self.clock,
        )

    async def use(self, name: str, size: int = 40) -> None:
        self.clock.now += 1
        async with self.shelf.hold(name, Path(f"/{size}")):
            pass

    @property
    def names(self) -> list[str]:
        return [teacher.name for teacher in self.shelf.loaded()]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # a thread's doing
            await asyncio.sleep(0.001)


@pytest.fixture
def room() -> Room:
    return Room()


async def test_one_load_serves_all_who_wait(room: Room) -> None:
    room.loader.gate.clear()
    users = [asyncio.create_task(room.use("a")) for _ in range(5)]
    await asyncio.sleep(0)
    users[0].cancel()  # the others are not its hostages
    room.loader.gate.set()
    await asyncio.gather(*users[1:])
    assert room.loader.loads == ["a"]


async def test_the_least_recently_used_go_first(room: Room) -> None:
    for name in ("a", "b", "a", "c"):
        await room.use(name)
    assert room.names == ["a", "c"]
    await room.use("b", 100)
    assert room.names == ["b"]


async def test_room_is_made_before_loading_and_waits_for_users(room: Room) -> None:
    async with room.shelf.hold("a", Path("/80")):
        other = asyncio.create_task(room.use("b", 80))
        await until(lambda: not room.names)  # the load has asked "a" to go
        for _ in range(20):
            await asyncio.sleep(0)
        assert room.loader.loads == ["a"]
    await other
    assert room.loader.loads == ["a", "b"]


async def test_unused_teachers_go_and_used_ones_stay(room: Room) -> None:
    await room.use("a")
    async with room.shelf.hold("b", Path("/40")):
        room.clock.now += 59.5
        assert room.shelf.unload_idle() == []
        room.clock.now += 1
        assert room.shelf.unload_idle() == ["a"]
        room.clock.now += 1000
        assert room.shelf.unload_idle() == []
    assert room.shelf.unload_idle() == []  # used until just now
    room.clock.now += 60
    assert room.shelf.unload_idle() == ["b"]


async def test_a_failure_stands_for_a_while_and_harms_nobody_else(room: Room) -> None:
    room.loader.error = InvalidArgument("no weights", reason="NOT_A_MODEL", field="teacher")
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="a did not load: no weights") as caught:
            await room.use("a")
        assert (caught.value.reason, caught.value.field) == ("NOT_A_MODEL", "model")
    assert room.loader.loads == ["a"]
    room.loader.error = None
    await room.use("b")
    room.clock.now += 31
    await room.use("a")
    assert room.names == ["a", "b"]


async def test_a_teacher_beyond_the_budget_is_refused_and_displaces_nobody(room: Room) -> None:
    await room.use("a")
    with pytest.raises(FailedPrecondition) as caught:
        await room.use("huge", 101)
    assert caught.value.reason == "TEACHER_TOO_LARGE"
    assert room.names == ["a"]


async def test_a_version_made_anew_is_loaded_anew(room: Room) -> None:
    await room.use("a", 40)
    await room.use("a", 50)
    assert room.loader.loads == ["a", "a"]
    assert [teacher.facts.memory_bytes for teacher in room.shelf.loaded()] == [50]
