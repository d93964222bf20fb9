"""A store on a fresh folder, and the time of day in hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from uploads.support import Clock, Make

from stillroom_server.uploads.store import UploadStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    def make(**changes: Any) -> UploadStore:
        settings = {"max_bytes": 1 << 20, "max_total_bytes": 4 << 20, "clock": clock} | changes
        return UploadStore(tmp_path / "data" / "uploads", **settings)

    return make


@pytest.fixture
def store(make: Make) -> UploadStore:
    return make()
