"""The operation that removes blobs which nothing refers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stillroom_registry.registry import Registry
from stillroom_registry.values import system_clock

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext


class CollectGarbageExecutor:
    """Executes {"dry_run", "grace_seconds"}.

    The result is {"deleted_blobs", "deleted_bytes", "kept_blobs"}. Two attempts at once do no harm:
    each batch is looked at again in the transaction that removes it.
    """

    kind = "collect_garbage"
    phases = ("collect",)

    def __init__(self, registry: Registry, clock: Callable[[], datetime] = system_clock) -> None:
        self._registry = registry
        self._clock = clock

    def run(self, request: Mapping[str, Any], context: OperationContext) -> Mapping[str, Any]:
        """Raises DataLoss (DATABASE_DAMAGED), and has then removed nothing."""
        context.confirm()
        context.progress("collect", 0, 1, unit="collections")
        report = self._registry.collect_garbage(
            grace=timedelta(seconds=float(request["grace_seconds"])),
            now=self._clock(),
            dry_run=bool(request["dry_run"]),
            check=context.check_cancelled,
        )
        context.progress("collect", 1, 1, unit="collections")
        return {
            "deleted_blobs": report.blobs_deleted,
            "deleted_bytes": report.bytes_freed,
            "kept_blobs": report.blobs_kept,
        }
