"""A registry with a student in it, and ways to damage its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stillroom_registry.registry import ModelKind, ModelVersion, Registry


class Clock:
    """A time of day that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> None:
        self.now += timedelta(**units)


class Store:
    """The registry of a test."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self.clock = clock
        self.registry = Registry.open(root / "data", clock=clock)

    def publish(self, name: str, **files: bytes) -> ModelVersion:
        """One more version, of files whose names have ``_`` for a point."""
        folder = self.root / f"{name}-{len(list(self.root.iterdir()))}"
        folder.mkdir()
        for path, content in files.items():
            (folder / path.replace("_", ".")).write_bytes(content)
        return self.registry.publish(name, ModelKind.STUDENT, folder)

    def damage(self, version: ModelVersion, path: str) -> Path:
        """Turns one bit of a file as it is stored."""
        (digest,) = (file.digest for file in version.files if file.path == path)
        blob = self.registry.blobs.path(digest)
        blob.chmod(0o600)
        data = blob.read_bytes()
        blob.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        return blob


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(tmp_path, clock)
    yield store
    store.registry.close()
