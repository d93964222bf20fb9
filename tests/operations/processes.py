"""Real runner processes for tests, and waiting for what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from stillroom_registry.registry import Registry
from stillroom_server.operations.model import Operation, OperationState
from stillroom_server.operations.store import OperationStore

REPOSITORY = Path(__file__).parents[2]
EXECUTORS = "operations.executors_for_tests:build"
SECONDS = 120.0  # longer than anything here takes on a busy machine

PROMPT = 20.0
"""Ten times the promised two seconds, as the machine may be busy, and a third of what would come
otherwise: the waits and the operations that are to be cut short last a minute."""

FAST = {
    "heartbeat_seconds": 0.1,
    "tick_seconds": 0.05,
    "idle_seconds": 30.0,
    "nice": 0,
    "restart_seconds": 0.05,
}


def environment() -> dict[str, str]:
    folders = ("client/python", "registry", "server", "tests")
    return {**os.environ, "PYTHONPATH": ":".join(str(REPOSITORY / name) for name in folders)}


class Room:
    """A data directory with its store, and the tables that ``Steps`` writes."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.database = Registry.open(data_dir).database
        self.store = OperationStore(self.database, lambda: datetime.now(UTC))
        with self.database.write() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE trace (id TEXT, attempt INTEGER, step INTEGER, pid INTEGER)"
            )
            connection.exec_driver_sql("CREATE TABLE effects (id TEXT)")

    def trace(self, operation_id: str) -> list[tuple[int, int, int]]:
        """(attempt, step, process id) of every step that was taken."""
        with self.database.read() as connection:
            found = connection.exec_driver_sql(
                "SELECT attempt, step, pid FROM trace WHERE id = ? ORDER BY rowid", (operation_id,)
            )
            return [(row[0], row[1], row[2]) for row in found]

    def effects(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.exec_driver_sql("SELECT id FROM effects").scalars())

    def steps(self, steps: int, seconds: float = 0.0, **more: float) -> str:
        return self.store.create("steps", {"steps": steps, "seconds": seconds, **more}).id

    def until_steps(self, operation_id: str, count: int) -> None:
        until(lambda: len(self.trace(operation_id)) >= count)

    def ended(self, operation_id: str) -> Operation:
        """The operation, when it has ended."""
        until(lambda: self.store.get(operation_id).done)
        return self.store.get(operation_id)

    def until_state(self, operation_id: str, state: OperationState) -> None:
        until(lambda: self.store.get(operation_id).state is state)


def until(condition: Callable[[], bool]) -> None:
    """Poll another process's work; there is no clock to inject into it."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class RunnerProcess:
    """A runner whose front is this process; ended by force at the end of the block."""

    def __init__(self, room: Room, *, executors: str = EXECUTORS, **settings: Any) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "stillroom_server.operations.runner",
                "--data-dir",
                str(room.data_dir),
                "--settings-json",
                json.dumps({"operations": {**FAST, **settings}}),
                "--executors",
                executors,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def __enter__(self) -> RunnerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        self.process.stderr.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def log(self) -> str:
        """What it wrote to standard error; waits for its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()
