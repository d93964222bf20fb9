"""What an operator decides about pushes and pulls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stillroom_registry.errors import FailedPrecondition, PermissionDenied
from stillroom_server.hub.access import HubAccess
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.sync.values import endpoint_of


@dataclass(frozen=True)
class SyncSettings:
    """``push`` False: nothing is ever pushed. ``imports`` says which Hub, with whose token, for
    which repositories."""

    push: bool = False
    imports: ImportSettings = field(default_factory=ImportSettings)

    @classmethod
    def from_json(
        cls, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> SyncSettings:
        """From the server's settings; see ``ImportSettings`` for the token."""
        return cls(
            push=bool(settings.get("hub_push")),
            imports=ImportSettings.from_json(settings, environment),
        )

    @property
    def endpoint(self) -> str:
        """The Hub's address for the record."""
        return endpoint_of(self.imports.hub_endpoint)

    def access(self) -> HubAccess:
        return self.imports.access()

    def check_push(self, repo: str) -> None:
        """Raises PermissionDenied (HUB_PUSH_OFF, HUB_REPO_NOT_ALLOWED), FailedPrecondition
        (HUB_TOKEN_MISSING) unless this server may push to ``repo``."""
        facts: dict[str, Any] = {"field": "repo", "metadata": {"repo": repo[:200]}}
        if not self.push:
            raise PermissionDenied(
                "this server does not push to the Hub; its operator can let it (hub_push)",
                reason="HUB_PUSH_OFF",
                **facts,
            )
        if not self.imports.allows(repo):
            raise PermissionDenied(
                f"this server may not push to {repo}; its operator can allow it (hub_allow)",
                reason="HUB_REPO_NOT_ALLOWED",
                **facts,
            )
        if not self.imports.hub_token:
            raise FailedPrecondition(
                "this server has no token for the Hub; its operator gives it one in the "
                "environment (STILLROOM_HUB_TOKEN or HF_TOKEN) or by `hf auth login`",
                reason="HUB_TOKEN_MISSING",
                **facts,
            )
