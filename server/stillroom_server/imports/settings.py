"""What an operator decides about imports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from stillroom_server.hub.access import TIMEOUT_SECONDS, HubAccess
from stillroom_server.security.secret import Secret

MAX_FILES = 2_000
MAX_BYTES = 50_000_000_000
_TOKENS = ("STILLROOM_HUB_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_MAX_TOKEN = 4096  # characters


@dataclass(frozen=True)
class ImportSettings:
    """``hub_allow`` are patterns of repositories for which ``hub_token`` may be used; without one
    that matches, the Hub is asked anonymously."""

    allow_root: tuple[Path, ...] = ()
    hub_endpoint: str | None = None
    hub_allow: tuple[str, ...] = ()
    hub_token: Secret = field(default_factory=lambda: Secret(""))
    hub_timeout_seconds: float = TIMEOUT_SECONDS
    max_files: int = MAX_FILES
    max_bytes: int = MAX_BYTES

    @classmethod
    def from_json(
        cls, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> ImportSettings:
        """From the server's settings; the token only from the environment (STILLROOM_HUB_TOKEN,
        else HF_TOKEN) or from where ``hf auth login`` puts it, so that it is in no file of ours, no
        argument and no database."""
        return cls(
            allow_root=tuple(map(Path, settings.get("allow_root") or ())),
            hub_endpoint=settings.get("hub_endpoint") or environment.get("HF_ENDPOINT") or None,
            hub_allow=tuple(settings.get("hub_allow") or ()),
            hub_token=Secret(_token(environment)),
            hub_timeout_seconds=float(settings.get("hub_timeout_seconds") or TIMEOUT_SECONDS),
            max_files=int(settings.get("max_import_files") or MAX_FILES),
            max_bytes=int(settings.get("max_import_bytes") or MAX_BYTES),
        )

    def token_for(self, repo: str) -> str | None:
        """The token, if it may be used for ``owner/name``."""
        return self.hub_token.reveal() if self.hub_token and self.allows(repo) else None

    def allows(self, repo: str) -> bool:
        """Whether the operator named ``owner/name`` in ``hub_allow``."""
        return any(fnmatchcase(repo, pattern) for pattern in self.hub_allow)

    def access(self) -> HubAccess:
        """To the Hub that the operator chose."""
        return HubAccess(self.hub_endpoint, self.token_for, self.hub_timeout_seconds)


def _token(environment: Mapping[str, str]) -> str:
    """The Hub's token from the usual places, "" if there is none."""
    for name in _TOKENS:
        if token := environment.get(name, "").strip():
            return token
    path = _token_file(environment)
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(_MAX_TOKEN).strip()
    except (OSError, ValueError):
        return ""


def _token_file(environment: Mapping[str, str]) -> Path:
    """Where ``hf auth login`` keeps it."""
    if named := environment.get("HF_TOKEN_PATH"):
        return Path(named)
    if home := environment.get("HF_HOME"):
        return Path(home) / "token"
    cache = environment.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path(environment.get("HOME") or "/nonexistent") / ".cache"
    return base / "huggingface" / "token"
