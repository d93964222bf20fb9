"""Following operations from the front: every change as it is seen, or just the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from stillroom_registry.errors import ResourceExhausted
from stillroom_server.operations.model import Operation
from stillroom_server.operations.store import OperationStore


class OperationWatcher:
    """Reads the watched operations when the database has changed, once for all watchers.

    A watcher costs a few microseconds a poll, and holds nothing while its reader is slow: it then
    skips to the newest state. ``sleep`` and ``clock`` (monotonic seconds) are there for tests.
    """

    def __init__(
        self,
        store: OperationStore,
        *,
        poll_seconds: float = 0.1,
        max_watchers: int = 256,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._max_watchers = max_watchers
        self._sleep = sleep
        self._clock = clock
        self._watched: Counter[str] = Counter()
        self._reading = asyncio.Lock()
        self._version: int | None = None
        self._found: dict[str, Operation] = {}
        self._read_for: frozenset[str] = frozenset()

    async def watch(self, operation_id: str) -> AsyncIterator[Operation]:
        """The operation now, then each change, at most one a poll; ends with the terminal one.

        Changes between two polls come as one. Raises NotFound, also when the operation is deleted
        meanwhile, and ResourceExhausted (TOO_MANY_WATCHERS).
        """
        self._enter(operation_id)
        try:
            last: Operation | None = None
            while True:
                operation = await self._read(operation_id)
                if operation != last:
                    yield operation
                    last = operation
                if operation.done:
                    return
                await self._sleep(self._poll_seconds)
        finally:
            self._leave(operation_id)

    async def wait(self, operation_id: str, timeout: float | None = None) -> Operation:  # noqa: ASYNC109
        """The operation when it has ended, or as it is after ``timeout`` seconds (None: no limit).

        Raises like ``watch``.
        """
        deadline = None if timeout is None else self._clock() + timeout
        self._enter(operation_id)
        try:
            while True:
                operation = await self._read(operation_id)
                pause = self._poll_seconds
                if deadline is not None:
                    pause = min(pause, deadline - self._clock())
                if operation.done or pause <= 0:
                    return operation
                await self._sleep(pause)
        finally:
            self._leave(operation_id)

    def _enter(self, operation_id: str) -> None:
        if self._watched.total() >= self._max_watchers:
            raise ResourceExhausted(
                f"{self._max_watchers} operations are being watched already; poll GetOperation, or "
                "try again later.",
                reason="TOO_MANY_WATCHERS",
                retry_after=1.0,
            )
        self._watched[operation_id] += 1

    def _leave(self, operation_id: str) -> None:
        self._watched[operation_id] -= 1
        if not self._watched[operation_id]:
            del self._watched[operation_id]
            self._read_for -= {operation_id}
            self._found.pop(operation_id, None)

    async def _read(self, operation_id: str) -> Operation:
        async with self._reading:
            # Before the rows: a commit in between then only causes one read too many.
            version = self._store.data_version()
            if version != self._version or operation_id not in self._read_for:
                watched = frozenset(self._watched)
                self._found = await asyncio.to_thread(self._store.get_many, watched)
                self._version, self._read_for = version, watched
            operation = self._found.get(operation_id)
        if operation is None:
            # Raises the store's own NotFound.
            return await asyncio.to_thread(self._store.get, operation_id)
        return operation
