"""How the runner reaches labeled data, as the operator decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_server.classification.data.examples import DataLimits, Examples, read
from stillroom_server.distillation.context import Context
from stillroom_server.hub.access import HubAccess
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.security.paths import AllowedRoots


@dataclass(frozen=True)
class DataAccess:
    """``roots`` may be read."""

    roots: AllowedRoots
    hub: HubAccess
    limits: DataLimits

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> DataAccess:
        """From the server's settings."""
        imports = ImportSettings.from_json(settings)
        return cls(
            AllowedRoots(imports.allow_root),
            imports.access(),
            DataLimits(),
        )

    def read(
        self,
        source: Mapping[str, Any],
        workspace: Path,
        context: Context,
        *,
        multi_label: bool,
        field: str = "data",
    ) -> Examples:
        """The examples of ``source``, whose copy stays below ``workspace``. Raises what
        ``examples.read`` raises."""
        folder = workspace / field
        folder.mkdir(parents=True, exist_ok=True)
        return read(
            source,
            folder,
            multi_label=multi_label,
            context=context,
            field=field,
            roots=self.roots,
            hub=self.hub,
            limits=self.limits,
        )
