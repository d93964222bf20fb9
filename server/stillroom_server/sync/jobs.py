"""What a push and a pull are asked for, as it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillroom_registry.values import ModelVersion
from stillroom_server.sync.values import MAIN, Direction, Sync


@dataclass(frozen=True)
class PushJob:
    """``version`` is a full name; ``tag`` "" sets none."""

    version: str
    repo: str
    branch: str
    tag: str
    private: bool
    force: bool

    @classmethod
    def from_json(cls, request: Mapping[str, Any]) -> PushJob:
        return cls(
            version=str(request["model_version"]),
            repo=str(request["repo"]),
            branch=str(request.get("branch") or MAIN),
            tag=str(request.get("tag") or ""),
            private=bool(request.get("private")),
            force=bool(request.get("force")),
        )

    def sync(self, operation: str, version: ModelVersion, endpoint: str) -> Sync:
        """The outbox's row of it, before anything was done."""
        return Sync(
            operation=operation,
            direction=Direction.PUSH,
            model=version.model,
            version=version.version,
            endpoint=endpoint,
            repo=self.repo,
            branch=self.branch,
            tag=self.tag,
            private=self.private,
        )


@dataclass(frozen=True)
class PullJob:
    """``name`` is the model that gets the version; ``revision`` None is the default branch."""

    name: str
    repo: str
    revision: str | None

    @classmethod
    def from_json(cls, request: Mapping[str, Any]) -> PullJob:
        revision = request.get("revision")
        return cls(
            name=str(request["name"]),
            repo=str(request["repo"]),
            revision=str(revision) if revision else None,
        )

    def sync(self, operation: str, endpoint: str) -> Sync:
        """The outbox's row of it, before anything was done."""
        return Sync(
            operation=operation,
            direction=Direction.PULL,
            model=self.name,
            version=None,
            endpoint=endpoint,
            repo=self.repo,
            branch=self.revision or MAIN,
        )
