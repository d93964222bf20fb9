"""Clocks, stores and claims for the tests of operations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stillroom_registry.database import Database
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.model import Claim
from stillroom_server.operations.store import OperationStore

LEASE = 15.0


class WallClock:
    """A time of day that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Monotonic:
    """Seconds that only tests, and sleeps of the code under test, move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def open_store(
    folder: Path,
    clock: Callable[[], datetime],
    *,
    gone: Callable[[str], bool] = lambda _worker: False,
    **options: Any,
) -> OperationStore:
    """A store in ``folder`` whose operations are called op-1, op-2, ..."""
    numbers = itertools.count(1)
    return OperationStore(
        Database.open(folder / "stillroom.db"),
        clock,
        new_id=lambda: f"op-{next(numbers)}",
        worker_is_gone=gone,
        **options,
    )


def claimed(store: OperationStore, worker: str = "worker-a") -> Claim:
    claim = store.claim(worker, LEASE)
    assert claim is not None
    return claim


def control_of(store: OperationStore) -> AttemptControl:
    return AttemptControl(claimed(store))
