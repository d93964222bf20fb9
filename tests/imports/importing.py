"""An import from request to version, without an operation around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from stillroom_registry.errors import Aborted, Cancelled
from stillroom_registry.registry import ModelVersion, Registry
from stillroom_server.imports.executor import ImportExecutor
from stillroom_server.imports.settings import ImportSettings


class Context:
    """What an executor sees of its operation."""

    attempt = 1

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.reported: list[tuple[str, int, int]] = []
        self.network_bytes = 0
        self.result: Any = None
        self.lost = False
        self.cancel_in: str | None = None

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        assert phase in ImportExecutor.phases
        self.reported.append((phase, done, total))

    def moved(self, network_bytes: int) -> None:
        self.network_bytes += network_bytes

    def check_cancelled(self) -> None:
        if self.cancel_in and self.reported and self.reported[-1][0] == self.cancel_in:
            raise Cancelled("asked to stop")

    def confirm(self) -> None:
        self.check_cancelled()

    def succeed(self, connection: Connection, result: Any) -> None:
        if self.lost:
            raise Aborted("another attempt", reason="LEASE_LOST")
        self.result = result


def run(
    registry: Registry, context: Context, source: Any, **request: Any
) -> tuple[ModelVersion, dict[str, Any]]:
    """Imports; the published version and the result."""
    root = context.workspace.parent / "models"
    settings = ImportSettings(allow_root=(root,))
    executor = ImportExecutor(settings, registry)
    filled = {"name": "m", "kind": None, "description": None, "labels": None, **request}
    result = executor.run({**filled, "source": source}, context)  # type: ignore[arg-type]
    assert result == context.result
    return registry.resolve(context.result["model_version"]), context.result


def at(context: Context, make: Callable[[Path], Any]) -> dict[str, str]:
    """A folder in the allowed root, as a source."""
    folder = context.workspace.parent / "models/model"
    folder.mkdir(parents=True)
    make(folder)
    return {"path": str(folder)}
