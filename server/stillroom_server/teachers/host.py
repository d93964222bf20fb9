"""Requests in the engine, from their arrival to their vectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from stillroom_registry.errors import DeadlineExceeded, StillroomError
from stillroom_server.inference.numerics import normalize
from stillroom_server.inference.tokenizers.huggingface import TokenizedText
from stillroom_server.teachers.compute import Computer
from stillroom_server.teachers.job import Job, Model
from stillroom_server.teachers.shelf import Shelf
from stillroom_server.teachers.shelf import Teacher as Shelved
from stillroom_server.teachers.tokenizing import Rows, TextTokenizer
from stillroom_server.teachers.values import EngineReport, TeacherFacts, Work, WorkResult

R = TypeVar("R")
_TOKENIZER_THREADS = 2


class ServedTeacher(Model, Shelved, Protocol):
    """A teacher that can do both halves of the work. See ``torch_teacher``."""

    @property
    def tokenizer(self) -> TextTokenizer: ...


class EngineHost:
    """Lives in one event loop; tokenizes in threads, computes in the computer's."""

    def __init__(
        self,
        shelf: Shelf[ServedTeacher],
        computer: Computer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shelf = shelf
        self._computer = computer
        self._clock = clock
        self._threads = ThreadPoolExecutor(_TOKENIZER_THREADS, thread_name_prefix="tokenize")

    async def load(self, name: str, folder: Path) -> TeacherFacts:
        """Has the teacher in memory; what the shelf raises."""
        async with self._shelf.hold(name, folder) as teacher:
            return teacher.facts

    async def embed(
        self, name: str, folder: Path, work: Work, seconds: float | None = None
    ) -> WorkResult:
        """The vectors of ``work`` within ``seconds``.

        Raises what loading raises, InvalidArgument on single texts, DeadlineExceeded. Cancelled, it
        takes its texts out of the queue.
        """
        arrival = self._clock()
        deadline = None if seconds is None else arrival + seconds
        async with self._shelf.hold(name, folder) as teacher:
            start = self._clock()
            rows = await self._tokenized(teacher, work, deadline)
            tokenize_seconds = self._clock() - start
            job = await self._computed(teacher, rows, deadline)
        vectors = job.vectors
        if work.dimensions < teacher.dimensions:
            vectors = np.ascontiguousarray(vectors[:, : work.dimensions])
        if work.normalize:
            normalize(vectors)
        started = arrival + tokenize_seconds if job.started is None else job.started
        return WorkResult(
            vectors,
            rows.lengths.astype(np.int32),
            rows.truncated,
            rows.empty,
            queue_seconds=max(0.0, started - arrival - tokenize_seconds),
            tokenize_seconds=tokenize_seconds,
            infer_seconds=job.infer_seconds,
        )

    async def tokenize(
        self, name: str, folder: Path, texts: Sequence[str], max_tokens: int | None
    ) -> list[TokenizedText]:
        """How the teacher splits texts."""
        async with self._shelf.hold(name, folder) as teacher:
            return await self._in_thread(partial(teacher.tokenizer.tokenize, texts, max_tokens))

    def unload(self, names: Collection[str]) -> None:
        self._shelf.unload(names)

    def unload_idle(self) -> None:
        self._shelf.unload_idle()

    def report(self) -> EngineReport:
        return EngineReport(
            self._shelf.loaded(), tuple(self._computer.take_records()), self._computer.requests
        )

    async def _tokenized(self, teacher: ServedTeacher, work: Work, deadline: float | None) -> Rows:
        if deadline is not None and deadline <= self._clock():
            raise DeadlineExceeded(
                "the deadline passed while the teacher was loading; ask again, it is faster then",
                reason="DEADLINE_EXCEEDED",
            )
        encode = partial(
            teacher.tokenizer.encode,
            work.texts,
            prompt=work.prompt,
            max_tokens=work.max_tokens,
            truncate=work.truncate,
            left=work.truncate_left,
        )
        return await self._in_thread(encode)

    async def _computed(self, teacher: ServedTeacher, rows: Rows, deadline: float | None) -> Job:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[StillroomError | None] = loop.create_future()

        def on_end(error: StillroomError | None) -> None:
            loop.call_soon_threadsafe(_settle, ended, error)

        job = Job(teacher, rows, deadline=deadline, on_end=on_end)
        self._computer.submit(job)
        try:
            error = await ended
        except asyncio.CancelledError:
            self._computer.cancel(job)
            raise
        if error is not None:
            raise error
        return job

    async def _in_thread(self, function: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _settle(future: asyncio.Future[StillroomError | None], error: StillroomError | None) -> None:
    if not future.done():
        future.set_result(error)
