"""Trainings of classifiers in real runner processes: held in a phase, killed, cancelled, watched.

A runner loads ``build`` (``--executors faults.classifying:build``); see ``faults.distilling`` for
how its operations are held.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classification.room import decided
from distillation.export.tiny import write_tiny
from operations.processes import Room, RunnerProcess

from faults import distilling
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.classification.executor import TrainClassifierExecutor
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.executor import Executor
from stillroom_server.operations.executors import by_kind
from stillroom_server.operations.model import Json

EXECUTORS = "faults.classifying:build"


def build(settings_json: Mapping[str, Any], registry: Registry) -> dict[str, Executor]:
    """In the runner's process. A checkpoint as often as there can be one."""
    from stillroom_server.classification.training import trail

    trail.SAVE_SECONDS = 0.0
    return by_kind(_Train(settings_json, registry))


class _Train(TrainClassifierExecutor):
    def run(self, request: Any, context: OperationContext) -> dict[str, Any]:
        watched: Any = distilling.Watched(context, self._registry.data_dir, request)
        return super().run(request, watched)


class Place(distilling.Place):
    """A data directory with the student ``tiny``, and what is asked of it."""

    def __init__(self, root: Path) -> None:
        self.room = Room(root / "data")
        self.store = self.room.store
        self.registry = Registry.open(root / "data")
        write_tiny(root / "tiny")
        self.registry.publish("tiny", ModelKind.STUDENT, root / "tiny")

    def runner(self, **settings: Any) -> RunnerProcess:
        given = {"max_lost_attempts": 10_000, "stop_grace_seconds": 10.0, **settings}
        return RunnerProcess(self.room, executors=EXECUTORS, **given)

    def train(self, request: Json) -> str:
        return self.store.create("train_classifier", request, target=request["name"]).id

    def bytes_of(self, name: str) -> dict[str, str]:
        return decided(self.registry, name)
