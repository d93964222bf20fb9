"""What the tests of uploads share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stillroom_registry.errors import (
    StillroomError,
)
from stillroom_server.uploads.model import UploadHeader
from stillroom_server.uploads.store import UploadStore

CONTENT = bytes(range(256)) * 40
SHA = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
HEADER = UploadHeader(total_bytes=len(CONTENT), digest=SHA, filename="corpus.txt")
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


Make = Callable[..., UploadStore]


def upload(store: UploadStore, content: bytes = CONTENT, **header: Any) -> str:
    with store.begin(UploadHeader(total_bytes=len(content), **header)) as writer:
        writer.write(content)
        return writer.finish().name


def broken_off(store: UploadStore, at: int) -> str:
    with store.begin(HEADER) as writer:
        writer.write(CONTENT[:at])
        return writer.name


def resuming(name: str, offset: int) -> UploadHeader:
    return replace(HEADER, upload=name, offset=offset)


def refused(kind: type[StillroomError], reason: str, field: str | None = None) -> Any:
    def right(error: BaseException) -> bool:
        return isinstance(error, kind) and (error.reason, error.field) == (reason, field)

    return pytest.RaisesExc(kind, check=right)
