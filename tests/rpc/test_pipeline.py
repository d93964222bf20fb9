from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stillroom_server.rpc.pipeline import LARGE_BYTES, Joint, Pending, Started, in_order


class Stream:
    """Requests that a test sends, and answers that it lets be done."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.begun: list[bytes] = []
        self.done: dict[bytes, asyncio.Event] = {}
        self.cancelled: list[bytes] = []
        self.answers: list[bytes] = []

    async def requests(self) -> AsyncIterator[bytes]:
        while (data := await self.sent.get()) is not None:
            yield data

    async def start(self, data: bytes) -> Started:
        """Small letters are answered at once, capital ones when ``done``."""
        self.begun.append(data)
        if data.islower():
            return data
        self.done[data] = asyncio.Event()
        return Pending(asyncio.create_task(self._slow(data)), 10)

    async def _slow(self, data: bytes) -> bytes:
        try:
            await self.done[data].wait()
        except asyncio.CancelledError:
            self.cancelled.append(data)
            raise
        return data

    def send(self, *items: bytes | None) -> None:
        for item in items:
            self.sent.put_nowait(item)

    async def run(self, window: int = 3, max_bytes: int = 1000) -> None:
        answers = in_order(self.requests(), self.start, window=window, max_bytes=max_bytes)
        try:
            async for answer in answers:
                self.answers.append(answer)
        finally:
            await answers.aclose()


@pytest.fixture
def stream() -> Stream:
    return Stream()


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_answers_keep_the_order_of_requests(stream: Stream) -> None:
    stream.send(b"a", b"B", b"C", b"d", None)
    task = asyncio.create_task(stream.run())
    await settle()
    assert stream.answers == [b"a"]
    stream.done[b"C"].set()
    await settle()
    assert stream.answers == [b"a"]
    stream.done[b"B"].set()
    await task
    assert stream.answers == [b"a", b"B", b"C", b"d"]


async def test_it_reads_no_further_than_the_window(stream: Stream) -> None:
    stream.send(b"A", b"B", b"C", b"D", None)
    task = asyncio.create_task(stream.run(window=2))
    await settle()
    assert stream.begun == [b"A", b"B"]
    stream.done[b"A"].set()
    await settle()
    assert stream.begun == [b"A", b"B", b"C"]
    task.cancel()


async def test_it_reads_no_further_than_the_bytes(stream: Stream) -> None:
    stream.send(b"A", b"B", b"C", None)
    task = asyncio.create_task(stream.run(max_bytes=20))
    await settle()
    assert stream.begun == [b"A", b"B"]
    task.cancel()


@pytest.mark.parametrize(
    ("size", "window", "read"), [(LARGE_BYTES, 2, 2), (LARGE_BYTES - 1, 2, 1), (LARGE_BYTES, 1, 1)]
)
async def test_the_next_request_is_read_while_a_large_one_is_answered(
    size: int, window: int, read: int
) -> None:
    taken: list[bytes] = []
    seen: list[int] = []

    async def requests() -> AsyncIterator[bytes]:
        for letter in b"abc":
            taken.append(bytes([letter]) * size)
            yield taken[-1]

    async def start(data: bytes) -> Started:
        seen.append(len(taken))  # before anything else has a turn
        return data[:1]

    answers = in_order(requests(), start, window=window, max_bytes=1000)
    assert [answer async for answer in answers] == [b"a", b"b", b"c"]
    assert seen == [read, min(read + 1, 3), 3]


async def test_an_error_of_a_request_read_ahead_comes_in_its_turn(stream: Stream) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a" * LARGE_BYTES
        raise ConnectionError

    answers = in_order(broken(), stream.start, window=2, max_bytes=1000)
    assert await anext(answers) == b"a" * LARGE_BYTES
    with pytest.raises(ConnectionError):
        await anext(answers)


class Lists:
    """Joint items; ``finished`` has the letters of those that were finished together."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.answers: list[str] = []

    async def start(self, data: bytes) -> Started:
        """Small letters are joint, capital ones answered at once."""
        letter = chr(data[0])
        return Joint(letter, cost=1, size=10) if letter.islower() else letter.encode()

    def finish(self, letters: list[str]) -> list[bytes]:
        self.finished.append("".join(letters))
        return [letter.encode() for letter in letters]

    async def run(self, letters: str, window: int = 4, cost: int = 9, max_bytes: int = 99) -> None:
        async def requests() -> AsyncIterator[bytes]:
            for letter in letters:
                yield letter.encode() * LARGE_BYTES

        answers = in_order(
            requests(),
            self.start,
            window=window,
            max_bytes=max_bytes,
            finish=self.finish,
            max_cost=cost,
        )
        async for answer in answers:
            self.answers.append(answer.decode())
        assert "".join(self.answers) == letters


@pytest.mark.parametrize(
    ("letters", "limits", "groups"),
    [
        ("abcdefg", {}, ["abcdefg"]),
        ("abcdefg", {"cost": 3}, ["abc", "def", "g"]),
        ("abcdefg", {"cost": 3, "window": 2}, ["abc", "def", "g"]),
        ("abcdefg", {"window": 1}, list("abcdefg")),
        ("abcdefg", {"cost": 2}, ["ab", "cd", "ef", "g"]),
        ("abcdefg", {"max_bytes": 20}, ["ab", "cd", "ef", "g"]),
        ("abXcYZd", {}, ["ab", "c", "d"]),
        ("a", {}, ["a"]),
    ],
)
async def test_joint_items_that_are_there_are_finished_together(
    letters: str, limits: dict[str, int], groups: list[str]
) -> None:
    lists = Lists()
    await lists.run(letters, **limits)
    assert lists.finished == groups


async def test_a_joint_item_waits_for_nobody_who_sends_one_by_one(stream: Stream) -> None:
    lists = Lists()
    large = {letter: letter.encode() * LARGE_BYTES for letter in "ab"}
    answers = in_order(
        stream.requests(),
        lists.start,
        window=4,
        max_bytes=99,
        finish=lists.finish,
        max_cost=9,
        patience=1000.0,
    )
    for letter in "ab":
        answer = asyncio.create_task(anext(answers))
        await settle()
        stream.send(large[letter])
        assert await asyncio.wait_for(answer, 10) == letter.encode()
    assert lists.finished == ["a", "b"]
    await answers.aclose()


async def test_joint_items_take_their_turn_behind_pending_ones(stream: Stream) -> None:
    lists = Lists()

    async def start(data: bytes) -> Started:
        return await (stream.start(data) if data.isupper() else lists.start(data))

    stream.send(b"A", b"b", b"C", None)
    answers = in_order(
        stream.requests(), start, window=4, max_bytes=99, finish=lists.finish, max_cost=9
    )
    task = asyncio.create_task(anext(answers))
    await settle()
    assert lists.finished == ["b"]
    for letter in (b"A", b"C"):
        stream.done[letter].set()
    assert [await task, *[answer async for answer in answers]] == [b"A", b"b", b"C"]


async def test_an_answer_leaves_while_the_next_request_is_not_there(stream: Stream) -> None:
    stream.send(b"A")
    task = asyncio.create_task(stream.run())
    await settle()
    stream.done[b"A"].set()
    await settle()
    assert stream.answers == [b"A"]
    stream.send(b"b", b"C")
    await settle()
    assert stream.answers == [b"A", b"b"]
    stream.done[b"C"].set()
    stream.send(None)
    await task
    assert stream.answers == [b"A", b"b", b"C"]


async def test_a_stream_that_ends_early_cancels_what_is_pending(stream: Stream) -> None:
    stream.send(b"A", b"B")
    task = asyncio.create_task(stream.run())
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await settle()
    assert sorted(stream.cancelled) == [b"A", b"B"]
