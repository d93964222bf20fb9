"""The teachers in memory, in the engine: loaded once at first use, within a budget.

One event loop owns it; loading itself happens in a thread. A teacher is held while a request uses
it. To make room, the least recently used go first; one that is held goes from the shelf at once,
which lets no new request hold it, and its memory is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from stillroom_registry.errors import FailedPrecondition, Internal, InvalidArgument, StillroomError
from stillroom_server.teachers.values import LoadedTeacher, TeacherFacts

_log = logging.getLogger(__name__)
_MAX_FAILURES = 1024


class Teacher(Protocol):
    """What the shelf needs to know of a teacher."""

    @property
    def facts(self) -> TeacherFacts: ...


T = TypeVar("T", bound=Teacher)


@dataclass(eq=False)
class _Place(Generic[T]):
    teacher: T
    folder: Path
    loaded_at: datetime
    last_used: float
    holders: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)


class Shelf(Generic[T]):
    """``load`` and ``estimate`` (bytes it will hold) block and get the teacher's folder."""

    def __init__(
        self,
        load: Callable[[str, Path], T],
        estimate: Callable[[Path], int],
        *,
        budget_bytes: int,
        idle_seconds: float,
        retry_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._load = load
        self._estimate = estimate
        self._budget = budget_bytes
        self._idle = idle_seconds
        self._retry = retry_seconds
        self._clock = clock
        self._now = now
        self._places: dict[str, _Place[T]] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, tuple[float, StillroomError]] = {}
        self._one_load = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def hold(self, name: str, folder: Path) -> AsyncIterator[T]:
        """The teacher ``name``, loaded first if need be, and not idle until the block ends.

        Raises why it does not load; that stands for ``retry_seconds``. Cancelling a waiter leaves
        the load alone.
        """
        place = await self._get(name, folder)
        place.holders += 1
        place.free.clear()
        try:
            yield place.teacher
        finally:
            place.last_used = self._clock()
            place.holders -= 1
            if not place.holders:
                place.free.set()

    def loaded(self) -> tuple[LoadedTeacher, ...]:
        """What is in memory, by name."""
        return tuple(
            LoadedTeacher(name, place.teacher.facts, place.loaded_at)
            for name, place in sorted(self._places.items())
        )

    def unload_idle(self) -> list[str]:
        """Drops the teachers that nobody used for ``idle_seconds``; returns their names."""
        latest = self._clock() - self._idle
        idle = [
            name
            for name, place in self._places.items()
            if not place.holders and place.last_used <= latest
        ]
        self.unload(idle)
        return idle

    def unload(self, names: Collection[str]) -> None:
        """Drops teachers; requests that hold one finish undisturbed."""
        dropped = []
        for name in names:
            self._failures.pop(name, None)
            if self._places.pop(name, None) is not None:
                dropped.append(name)
        if dropped:
            _log.info("unloaded %s", ", ".join(dropped))
            gc.collect()  # models are full of cycles

    async def _get(self, name: str, folder: Path) -> _Place[T]:
        while True:
            place = self._places.get(name)
            if place is not None and place.folder == folder:
                return place
            if place is not None:
                self.unload([name])  # it was deleted, and made again under the same name
            failure = self._failures.get(name)
            if failure is not None and self._clock() < failure[0]:
                # A copy: raising one object in several tasks would pile up their tracebacks.
                raise copy.copy(failure[1])
            task = self._loading.get(name)
            if task is None:
                task = asyncio.create_task(self._load_one(name, folder), name=f"load {name}")
                self._loading[name] = task
            await asyncio.shield(task)

    async def _load_one(self, name: str, folder: Path) -> None:
        """Ends with the teacher on the shelf or its failure noted; raises nothing."""
        try:
            async with self._one_load:
                needed = await asyncio.to_thread(self._estimate, folder)
                await self._make_room(name, needed)
                start = self._clock()
                teacher = await asyncio.to_thread(self._load, name, folder)
            self._failures.pop(name, None)
            self._places[name] = _Place(teacher, folder, self._now(), self._clock())
            facts = teacher.facts
            _log.info(
                "loaded %s in %.1f s: %s on %s, %d bytes",
                name,
                self._clock() - start,
                facts.dtype,
                facts.device,
                facts.memory_bytes,
            )
        except Exception as error:
            if len(self._failures) >= _MAX_FAILURES:
                self._failures.clear()
            # At least one waiter must see it.
            until = self._clock() + max(self._retry, 0.1)
            self._failures[name] = (until, _blameless(name, error))
        finally:
            del self._loading[name]

    async def _make_room(self, name: str, needed: int) -> None:
        if needed > self._budget:
            raise FailedPrecondition(
                f"{name} needs {needed:,} bytes, teachers may take {self._budget:,}; raise"
                " teacher_memory_bytes",
                reason="TEACHER_TOO_LARGE",
                field="model",
                metadata={"bytes": str(needed), "limit": str(self._budget)},
            )
        by_age = sorted(self._places.items(), key=lambda item: item[1].last_used)
        total = sum(place.teacher.facts.memory_bytes for place in self._places.values())
        gone = []
        for other, place in by_age:
            if total + needed <= self._budget:
                break
            total -= place.teacher.facts.memory_bytes
            gone.append(place)
            self.unload([other])
        for place in gone:
            if place.holders:
                await place.free.wait()


def _blameless(name: str, error: Exception) -> StillroomError:
    """A stored teacher that does not load is no fault of the request that asks for it."""
    if not isinstance(error, StillroomError):
        _log.error("cannot load %s", name, exc_info=error)
        return Internal(
            f"{name} did not load ({type(error).__name__}); the server's log says more",
            reason="MODEL_LOAD_FAILED",
            metadata={"model": name},
        )
    kind = FailedPrecondition if isinstance(error, InvalidArgument) else type(error)
    return kind(
        f"{name} did not load: {error.message}",
        reason=error.reason,
        field="model",
        metadata={**error.metadata, "model": name},
        retry_after=error.retry_after,
    )
