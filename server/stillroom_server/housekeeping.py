"""What a server does now and then: notice models that came or went, drop what has expired."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from stillroom_registry.errors import Cancelled, StillroomError
from stillroom_registry.names import ModelRef
from stillroom_registry.values import ModelKind, system_clock
from stillroom_server.parts import Parts
from stillroom_server.rpc.health import Health

_LOOK_SECONDS = 0.5
_EXPIRE_SECONDS = 600.0
_SCRUB_SECONDS = 300.0
_GARBAGE_GRACE = timedelta(hours=1)
_PAGE = 1000
_log = logging.getLogger(__name__)


class Housekeeper:
    """Loops in the event loop; a failing round is logged and tried again."""

    def __init__(
        self,
        parts: Parts,
        health: Health,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = system_clock,
    ) -> None:
        self._parts = parts
        self._health = health
        self._sleep = sleep
        self._now = now
        self._seen: int | None = None
        self._names: frozenset[str] = frozenset()
        self._tasks: list[asyncio.Task[None]] = []
        # A thread of its own: a round may take hours, and requests share the others.
        self._scrubbing = ThreadPoolExecutor(1, thread_name_prefix="scrub")

    async def start(self) -> None:
        """Looks once, then goes on in the background."""
        await self.look()
        await self.expire()
        self._tasks = [
            asyncio.create_task(self._repeat(self.look, _LOOK_SECONDS), name="models"),
            asyncio.create_task(self._repeat(self.expire, _EXPIRE_SECONDS), name="expiry"),
            asyncio.create_task(self._repeat(self.scrub, _SCRUB_SECONDS), name="scrub"),
        ]

    async def stop(self) -> None:
        """Ends the loops."""
        if self._parts.scrubber is not None:
            self._parts.scrubber.stop()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        # Not before its thread has let go of the registry.
        await asyncio.to_thread(self._scrubbing.shutdown)

    async def look(self) -> None:
        """Health and series for the models that are there now; reads only what has changed."""
        version = self._parts.registry.database.data_version()
        if version != self._seen:
            names = await asyncio.to_thread(self._models)
            classifiers = {n for n, kind in names.items() if kind is ModelKind.CLASSIFIER}
            self._parts.embed_metrics.declare(names.keys() - classifiers)
            self._parts.classify_metrics.declare(classifiers)
            self._parts.prune()
            await self._parts.teachers.prune(self._parts.registry.resolve)
            self._names, self._seen = frozenset(names), version
        failed = {ModelRef.parse(failure.name).model for failure in self._parts.load_failures()}
        await self._health.models({name: name not in failed for name in self._names})

    async def expire(self) -> None:
        """Discards uploads that nobody used in time, operations that ended long ago, and blobs
        that nothing refers to any more."""
        now = self._now()
        parts = self._parts
        await asyncio.to_thread(parts.uploads.expire, now)
        kept = timedelta(days=parts.settings.operation_days)
        await asyncio.to_thread(parts.operations.forget_ended, now - kept)
        await asyncio.to_thread(parts.registry.collect_garbage, grace=_GARBAGE_GRACE, now=now)

    async def scrub(self) -> None:
        """Hashes again what nobody looked at for long; see ``Scrubber``."""
        scrubber = self._parts.scrubber
        if scrubber is not None:
            with contextlib.suppress(Cancelled):
                await asyncio.get_running_loop().run_in_executor(self._scrubbing, scrubber.run)

    def _models(self) -> dict[str, ModelKind]:
        found: dict[str, ModelKind] = {}
        token = ""
        while True:
            page = self._parts.registry.list_models(_PAGE, token)
            found |= {model.name: model.kind for model in page.items}
            token = page.next_page_token
            if not token:
                return found

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await self._sleep(seconds)
            try:
                await work()
            except (StillroomError, OSError) as error:
                _log.warning("housekeeping failed and will be tried again: %s", error)
            except Exception:
                # Without this the loop would end unseen, and health would tell old news for good.
                _log.exception("housekeeping failed and will be tried again")
