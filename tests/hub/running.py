"""Pushes and pulls in runner processes of their own, with the environment that a user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distillation.export.tiny import write_tiny
from operations import processes
from operations.processes import RunnerProcess

from hub.room import REPO
from hub.server import TOKEN, XET, Hub
from stillroom_registry.registry import ModelKind, ModelVersion
from stillroom_server.operations.model import Operation

EXECUTORS = "hub.executors:build"


def use(hub: Hub, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody who logged in to ``hub``, with a home inside ``root``."""
    home = root / "hf"
    home.mkdir()
    (home / "token").write_text(f"{TOKEN}\n")
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "STILLROOM_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "0" if hub.transfer == XET else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


class Place:
    """A data directory whose runner knows ``hub``; the token is where ``hf auth login`` puts it."""

    def __init__(self, root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.room = processes.Room(root / "data")
        from stillroom_registry.registry import Registry

        self.registry = Registry.open(root / "data")
        use(hub, root, monkeypatch)

    def runner(self, **settings: Any) -> RunnerProcess:
        given = {"max_lost_attempts": 10_000, "stop_grace_seconds": 10.0, **settings}
        return RunnerProcess(self.room, executors=EXECUTORS, **given)

    def publish(self, name: str = "mini", **student: Any) -> ModelVersion:
        folder = self.root / f"student-{len(list(self.root.iterdir()))}"
        write_tiny(folder, **student)
        return self.registry.publish(name, ModelKind.STUDENT, folder)

    def push(self, version: ModelVersion, **more: Any) -> str:
        body = {"model_version": version.name, "repo": REPO, **more}
        return self.room.store.create("push", body, target=version.model).id

    def pull(self, name: str, **more: Any) -> str:
        body = {"name": name, "repo": REPO, **more}
        return self.room.store.create("pull", body, target=name).id

    def ended(self, operation: str) -> Operation:
        return self.room.ended(operation)
