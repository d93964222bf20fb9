"""Executors that a real runner loads: ``--executors operations.executors_for_tests:build``."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.registry import Registry
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.executor import Executor
from stillroom_server.operations.executors import by_kind
from stillroom_server.operations.model import Json


class Steps:
    """Counts to ``steps``, ``seconds`` apart, from its last checkpoint; publishes at the end.

    Every step is a row of ``trace`` written under the guard. The publish is a row of ``effects``,
    committed with the success, after the ``publish_seconds`` that the transaction is kept open.
    """

    kind = "steps"
    phases = ("count", "publish")

    def __init__(self, registry: Registry) -> None:
        self._database = registry.database

    def run(self, request: Json, context: OperationContext) -> Json:
        checkpoint = context.workspace / "checkpoint"
        first = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(first, request["steps"]):
            context.check_cancelled()
            time.sleep(request.get("seconds", 0.0))
            with self._database.write() as connection:
                context.guard(connection)
                connection.exec_driver_sql(
                    "INSERT INTO trace VALUES (?, ?, ?, ?)",
                    (context.operation_id, context.attempt, step, os.getpid()),
                )
            temporary = context.workspace / f"checkpoint.{context.attempt}"
            temporary.write_text(str(step + 1))
            temporary.rename(checkpoint)
            context.progress("count", step + 1, request["steps"], unit="steps")
        result = {"first": first, "attempt": context.attempt}
        context.progress("publish", 0, 1, unit="models")
        with self._database.write() as connection:
            connection.exec_driver_sql("INSERT INTO effects VALUES (?)", (context.operation_id,))
            time.sleep(request.get("publish_seconds", 0.0))
            context.succeed(connection, result)
        return {"ignored": True}


class Stubborn:
    """Does not look whether anybody wants it to stop."""

    kind = "stubborn"
    phases = ("sleep",)

    def run(self, request: Json, context: OperationContext) -> Json:
        time.sleep(request["seconds"])
        return {}


class Suicide:
    """Dies as a process that the kernel ends for its memory does."""

    kind = "suicide"
    phases = ("die",)

    def run(self, request: Json, context: OperationContext) -> Json:
        os.kill(os.getpid(), 9)
        return {}


class Failing:
    """Fails in the way that the request names."""

    kind = "failing"
    phases = ("fail",)

    def run(self, request: Json, context: OperationContext) -> Json:
        match request["how"]:
            case "domain":
                raise InvalidArgument("no such layer", reason="NO_LAYER", field="layer")
            case "disk":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "memory":
                raise MemoryError
            case "foreign":
                raise RuntimeError("token hf_secret refused")
            case "exit":
                raise SystemExit(3)
            case "result":
                return {"not": {"json"}}
        return {"settings": request}


class Settings:
    """Tells what reached the runner."""

    kind = "settings"
    phases = ()

    def __init__(self, settings_json: Mapping[str, Any]) -> None:
        self._settings_json = settings_json

    def run(self, request: Json, context: OperationContext) -> Json:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {
            "secret": self._settings_json.get("secret"),
            "threads": [os.environ.get(name) for name in names],
            "nice": os.nice(0),
            "session": _nice_of_session(),
        }


def _nice_of_session() -> str | None:
    """As /autogroup-12 nice 7; None where the system knows no such thing."""
    with contextlib.suppress(OSError):
        told = Path("/proc/self/autogroup").read_text().split()
        return told[-1] if told else None
    return None


class Paced:
    """Computes, by a stand-in for torch, until it was told two numbers of threads; tells them."""

    kind = "paced"
    phases = ("compute",)

    def run(self, request: Json, context: OperationContext) -> Json:
        told: list[int] = []
        torch = types.ModuleType("torch")
        torch.set_num_threads = told.append  # type: ignore[attr-defined]
        sys.modules["torch"] = torch
        while len(told) < 2:
            context.progress("compute", len(told), 2, unit="changes")
            context.check_cancelled()
            time.sleep(0.01)
        return {"told": told}


def build(settings_json: Mapping[str, Any], registry: Registry) -> dict[str, Executor]:
    return by_kind(
        Steps(registry), Stubborn(), Suicide(), Failing(), Settings(settings_json), Paced()
    )


def broken(settings_json: Mapping[str, Any], registry: Registry) -> dict[str, Executor]:
    raise RuntimeError("this release is broken")
