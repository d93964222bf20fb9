"""Requests from the front's end of the wire to the engine's queue, without torch or a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from distillation import teachers as tiny
from teachers.fakes import FakeModel

from stillroom_registry.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from stillroom_server.teachers.compute import Computer
from stillroom_server.teachers.host import EngineHost
from stillroom_server.teachers.queue import WorkQueue
from stillroom_server.teachers.shelf import Shelf
from stillroom_server.teachers.tokenizing import TextTokenizer
from stillroom_server.teachers.transport import convert
from stillroom_server.teachers.transport.client import GrpcEngineLink
from stillroom_server.teachers.transport.servicer import serve
from stillroom_server.teachers.values import TeacherFacts, Work

FOLDER = Path("/nowhere")


class FakeTeacher(FakeModel):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.tokenizer = TextTokenizer(tiny.tokenizer("wordpiece").to_str())
        self.facts = TeacherFacts(
            dimensions=3, max_tokens=64, special_tokens=2, prompts={"q": "x"}, default_prompt="q"
        )


class Room:
    """The engine's inside, whose batches are computed when a test says so, and a link to it."""

    def __init__(self) -> None:
        self.computer = Computer(WorkQueue(1000, 1000))
        self.teachers: list[FakeTeacher] = []

        def load(name: str, folder: Path) -> FakeTeacher:
            self.teachers.append(FakeTeacher(name, folder))
            return self.teachers[-1]

        shelf: Shelf[Any] = Shelf(
            load, lambda _: 0, budget_bytes=100, idle_seconds=60, retry_seconds=30
        )
        self.host = EngineHost(shelf, self.computer)
        self.link: GrpcEngineLink
        self.server: grpc.aio.Server

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  # the engine's side cannot tell
                await asyncio.sleep(0.001)

    def ask(self, texts: list[str], seconds: float | None = None, **more: Any) -> asyncio.Task[Any]:
        work = Work(**{"texts": texts, "max_tokens": 64, "dimensions": 3, **more})
        return asyncio.create_task(self.link.embed("m", FOLDER, work, seconds))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room()
    socket = tmp_path / "s"
    room.server = await serve(room.host, socket)
    room.link = GrpcEngineLink(socket)
    yield room
    await room.link.close()
    await room.server.stop(None)


async def test_one_block_of_vectors_in_order(room: Room) -> None:
    asked = room.ask(["the fox", "", "the quick brown fox"], normalize=False)
    await room.until(lambda: room.computer.requests == 1)
    room.computer.step()
    result = await asked
    assert result.tokens.tolist() == [4, 2, 6]
    assert result.vectors[:, 1].tolist() == [4, 2, 6]
    assert result.empty.tolist() == [False, True, False]
    assert result.truncated.tolist() == [False, False, False]
    assert (await room.link.load("m", FOLDER, None)).default_prompt == "q"
    assert len(room.teachers) == 1


async def test_dimensions_are_cut_before_normalizing(room: Room) -> None:
    asked = room.ask(["the fox"], dimensions=2, normalize=True)
    await room.until(lambda: room.computer.requests == 1)
    room.computer.step()
    vectors = (await asked).vectors
    assert vectors.shape == (1, 2)
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, rtol=1e-6)


async def test_a_caller_that_leaves_takes_its_texts_along(room: Room) -> None:
    leaving, staying = room.ask(["the fox"] * 3), room.ask(["the dog"], normalize=False)
    await room.until(lambda: room.computer.requests == 2)
    leaving.cancel()
    await room.until(lambda: room.computer.requests == 1)
    room.computer.step()
    assert (await staying).vectors.shape == (1, 3)
    assert [len(batch) for batch in room.teachers[0].batches] == [1]


async def test_a_deadline_takes_its_texts_along(room: Room) -> None:
    with pytest.raises(DeadlineExceeded):
        await room.ask(["the fox"], 0.05)
    await room.until(lambda: room.computer.requests == 0)
    assert not room.computer.step()


async def test_errors_cross_whole(room: Room) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await room.ask(["fox", "the quick brown fox"], max_tokens=4, truncate=False)
    assert (caught.value.reason, caught.value.field) == ("TEXT_TOO_LONG", "texts[1]")
    assert caught.value.metadata == {"tokens": "6", "limit": "4"}
    error = ResourceExhausted("m", reason="R", field="f", metadata={"a": "b"}, retry_after=1.5)
    again = convert.error_of(convert.error_message(error))
    assert type(again) is ResourceExhausted
    assert vars(again) == vars(error)
    unforeseen = convert.error_of(convert.error_message(KeyError("secret")))
    assert "secret" not in unforeseen.message


async def test_the_report_tells_of_batches_once(room: Room) -> None:
    asked = room.ask(["the fox", "fox"])
    await room.until(lambda: room.computer.requests == 1)
    assert (await room.link.report()).requests == 1
    room.computer.step()
    await asked
    report = await room.link.report()
    assert [(b.texts, b.tokens, b.padded_tokens) for b in report.batches] == [(2, 7, 8)]
    assert [teacher.name for teacher in report.loaded] == ["m"]
    assert report.requests == 0
    await room.link.unload(["m"])
    report = await room.link.report()
    assert (report.loaded, report.batches) == ((), ())


async def test_closing_the_link_ends_its_calls_with_an_error_that_is_answered(room: Room) -> None:
    asked = room.ask(["the fox"])
    await room.until(lambda: room.computer.requests == 1)
    await room.link.close()
    with pytest.raises(Unavailable) as caught:
        await asked
    assert caught.value.reason == "TEACHER_ENGINE_LOST"


async def test_a_caller_that_is_cancelled_stays_cancelled(room: Room) -> None:
    asked = room.ask(["the fox"])
    await room.until(lambda: room.computer.requests == 1)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
