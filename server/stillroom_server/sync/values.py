"""What is known of one push or pull: values only, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

MAIN = "main"
"""The default branch: the Hub gives every repository this one."""

PUBLIC_HUB = "https://huggingface.co"


class Direction(StrEnum):
    PUSH = "push"
    PULL = "pull"


class SyncState(StrEnum):
    """PENDING -> RUNNING -> one of the others. CANCELLED is told by the operation alone."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CONFLICT = "conflict"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (SyncState.PENDING, SyncState.RUNNING)


@dataclass(frozen=True)
class Sync:
    """A row of the outbox; see ``schema``. ``endpoint`` is the Hub's, as ``endpoint_of`` writes it.

    ``reason`` and ``message`` tell of the last failure, both empty when there was none.
    """

    operation: str
    direction: Direction
    model: str
    version: int | None
    endpoint: str
    repo: str
    branch: str
    tag: str = ""
    private: bool = False
    state: SyncState = SyncState.PENDING
    base: str | None = None
    commit: str | None = None
    paths: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None


def endpoint_of(url: str | None) -> str:
    """A Hub's address for the record: without what may be a password in it. None: the public."""
    parts = urlsplit(url or PUBLIC_HUB)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")[:512]
