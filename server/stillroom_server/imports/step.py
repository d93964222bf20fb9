"""An import as one phase of another operation: a distillation whose teacher is not registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import NotFound
from stillroom_registry.registry import ModelVersion, Registry
from stillroom_server.imports.executor import ImportExecutor

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext

PHASE = "import"


class TeacherImport:
    """Imports ``{"name", "source"}`` as a teacher: once, however often its operation is attempted.

    The version remembers the operation in its metadata, so that an attempt after a crash finds what
    the one before it brought.
    """

    def __init__(self, executor: ImportExecutor, registry: Registry) -> None:
        self._executor = executor
        self._registry = registry

    def __call__(self, request: Mapping[str, Any], context: OperationContext) -> ModelVersion:
        """The teacher. Raises what an import raises."""
        marks = {"operation": f"operations/{context.operation_id}"}
        found = self._brought(str(request["name"]), marks["operation"])
        if found is not None:
            return found
        wanted = {**request, "kind": "teacher"}
        # No success yet, only the proof that this attempt still owns the operation.
        return self._executor.bring(
            wanted, _OnePhase(context), lambda connection, _: context.guard(connection), marks=marks
        )[0]

    def _brought(self, name: str, operation: str) -> ModelVersion | None:
        try:
            newest = self._registry.list_versions(name).items
        except NotFound:
            return None
        return next((v for v in newest if v.metadata.get("operation") == operation), None)


class _OnePhase:
    """An operation's context that reports every phase as PHASE."""

    def __init__(self, context: OperationContext) -> None:
        self._context = context
        self.check_cancelled = context.check_cancelled
        self.confirm = context.confirm
        self.moved = context.moved

    @property
    def workspace(self) -> Path:
        return self._context.workspace

    @property
    def attempt(self) -> int:
        return self._context.attempt

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self._context.progress(PHASE, done, total, unit=unit, message=message or phase)
