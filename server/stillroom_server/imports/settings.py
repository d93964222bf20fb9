"""What an operator decides about imports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from stillroom_server.security.secret import Secret

MAX_FILES = 2_000
MAX_BYTES = 50_000_000_000
_TOKENS = ("STILLROOM_HUB_TOKEN", "HF_TOKEN")


@dataclass(frozen=True)
class ImportSettings:
    """``hub_allow`` are patterns of repositories for which ``hub_token`` may be used; without one
    that matches, the Hub is asked anonymously."""

    allow_root: tuple[Path, ...] = ()
    hub_endpoint: str | None = None
    hub_allow: tuple[str, ...] = ()
    hub_token: Secret = field(default_factory=lambda: Secret(""))
    max_files: int = MAX_FILES
    max_bytes: int = MAX_BYTES

    @classmethod
    def from_json(
        cls, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> ImportSettings:
        """From the server's settings; the token only from the environment (STILLROOM_HUB_TOKEN,
        else HF_TOKEN), so that it is in no file, argument or database."""
        token = next((environment[name] for name in _TOKENS if environment.get(name)), "")
        return cls(
            allow_root=tuple(map(Path, settings.get("allow_root") or ())),
            hub_endpoint=settings.get("hub_endpoint") or environment.get("HF_ENDPOINT") or None,
            hub_allow=tuple(settings.get("hub_allow") or ()),
            hub_token=Secret(token),
            max_files=int(settings.get("max_import_files") or MAX_FILES),
            max_bytes=int(settings.get("max_import_bytes") or MAX_BYTES),
        )

    def token_for(self, repo: str) -> str | None:
        """The token, if it may be used for ``owner/name``."""
        if self.hub_token and any(fnmatchcase(repo, pattern) for pattern in self.hub_allow):
            return self.hub_token.reveal()
        return None
