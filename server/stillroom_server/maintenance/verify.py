"""The operation that hashes a version's files again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stillroom_registry.registry import Registry

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext


class VerifyExecutor:
    """Executes {"model_version": full name}.

    The result is {"damaged_files": [{"path", "digest", "size"}], "verified_bytes"}. To be damaged
    is a result and no failure. What is damaged is in quarantine when it ends, whichever attempt
    found it: that is true of the bytes, whoever looked.
    """

    kind = "verify"
    phases = ("hash",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def run(self, request: Mapping[str, Any], context: OperationContext) -> Mapping[str, Any]:
        """Raises NotFound when the version was deleted since it was asked for."""
        version = self._registry.resolve(str(request["model_version"]))
        # Files with the same bytes are hashed once.
        total = sum({file.digest: file.size for file in version.files}.values())

        def on_bytes(done: int) -> None:
            context.progress("hash", min(done, total), total, unit="bytes")

        on_bytes(0)
        found = self._registry.verify(version, on_bytes=on_bytes, check=context.check_cancelled)
        return {
            "damaged_files": [asdict(file) for file in found.damaged],
            "verified_bytes": found.bytes_hashed,
        }
