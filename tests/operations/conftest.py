from __future__ import annotations

from pathlib import Path

import pytest
from stillroom_server.operations.store import OperationStore

from operations.support import Monotonic, WallClock, open_store


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def store(tmp_path: Path, clock: WallClock) -> OperationStore:
    return open_store(tmp_path, clock)
