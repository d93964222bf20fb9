"""Distillations in real runner processes: stopped where a test says, killed, cancelled, watched.

A runner loads ``build`` (``--executors faults.distilling:build``). Its distillations tell in the
file ``reached`` of the data directory which phase they have come to, and wait in the phase that the
file ``hold`` names until that is gone, or somebody cancels.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillation.recipes.room import CHECKPOINTS, decided
from operations.processes import Room, RunnerProcess

from faults.processes import until
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.distillation.executor import DistillExecutor
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.executor import Executor
from stillroom_server.operations.executors import by_kind
from stillroom_server.operations.model import Json, Operation

EXECUTORS = "faults.distilling:build"
PATIENCE = 240.0  # seconds: runners have the lowest priority, and libraries to load
SLOW = "slow"  # as the description of a student: each step of its training takes some time
_STEP_SECONDS = 0.15


def build(settings_json: Mapping[str, Any], registry: Registry) -> dict[str, Executor]:
    """In the runner's process. A checkpoint after every step, and two runs of parity: what is
    tested here is what comes between them."""
    from stillroom_server.distillation import recipe
    from stillroom_server.distillation.transformer import parity

    recipe.PARITY_RUNS = parity.RUNS = 2
    for module, name in CHECKPOINTS:
        imported = __import__(module, fromlist=[name])
        setattr(imported, name, 0.0)
    return by_kind(_Distill(settings_json, registry))


class _Distill(DistillExecutor):
    def run(self, request: Any, context: OperationContext) -> dict[str, Any]:
        watched: Any = Watched(context, self._registry.data_dir, request)
        return super().run(request, watched)


class Watched:
    """The context of an attempt, with the two files beside it."""

    def __init__(self, context: OperationContext, folder: Path, request: Json) -> None:
        self._context = context
        self._folder = folder
        self._step_seconds = _STEP_SECONDS if request.get("description") == SLOW else 0.0
        self._phase = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def progress(self, phase: str, done: int, total: int, **more: Any) -> None:
        self._context.progress(phase, done, total, **more)
        if phase == "train":
            time.sleep(self._step_seconds)
        if phase == self._phase:
            return
        self._phase = phase
        unfinished = self._folder / "reached.unfinished"
        unfinished.write_text(json.dumps([self._context.operation_id, phase]))
        unfinished.replace(self._folder / "reached")
        while self._held(phase) and self._context._control.cancel_time is None:
            time.sleep(0.005)

    def _held(self, phase: str) -> bool:
        try:
            return (self._folder / "hold").read_text() == phase
        except FileNotFoundError:
            return False


class Place:
    """A data directory with the teacher ``tiny-bert``, and what is asked of it."""

    def __init__(self, root: Path, teacher: Path) -> None:
        self.room = Room(root / "data")
        self.store = self.room.store
        self.registry = Registry.open(root / "data")
        self.registry.publish("tiny-bert", ModelKind.TEACHER, teacher)

    def runner(self, **settings: Any) -> RunnerProcess:
        """Whose operations may lose it as often as a test wants."""
        given = {"max_lost_attempts": 10_000, "stop_grace_seconds": 10.0, **settings}
        return RunnerProcess(self.room, executors=EXECUTORS, **given)

    def distill(self, request: Json) -> str:
        return self.store.create("distill", request, target=request["name"]).id

    def ended(self, operation: str) -> Operation:
        """The operation when it has ended and its workspace is gone, which comes next."""
        until(lambda: self.store.get(operation).done, PATIENCE)
        until(lambda: not self.workspace(operation).exists(), PATIENCE)
        return self.store.get(operation)

    def hold(self, phase: str) -> None:
        unfinished = self.room.data_dir / "hold.unfinished"
        unfinished.write_text(phase)
        unfinished.replace(self.room.data_dir / "hold")

    def let_go(self) -> None:
        (self.room.data_dir / "hold").unlink(missing_ok=True)

    def until_reached(self, operation: str, phase: str) -> None:
        """The operation holds in ``phase``, or has ended."""
        path = self.room.data_dir / "reached"
        wanted = json.dumps([operation, phase])
        until(
            lambda: (path.exists() and path.read_text() == wanted) or self.store.get(operation).done
        )

    def forget_reached(self) -> None:
        (self.room.data_dir / "reached").unlink(missing_ok=True)

    def forget_features(self) -> None:
        shutil.rmtree(self.room.data_dir / "cache/features", ignore_errors=True)

    def bytes_of(self, name: str) -> dict[str, str]:
        return decided(self.registry, name)

    def versions(self, name: str) -> int:
        return len(self.registry.list_versions(name, 1000).items)

    def workspace(self, operation: str) -> Path:
        return self.room.data_dir / "operations" / operation
