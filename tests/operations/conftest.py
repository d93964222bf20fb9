from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operations.support import Monotonic, WallClock, open_store
from stillroom_server.operations.store import OperationStore


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database file with the tables: copying it is much faster than migrating."""
    folder = tmp_path_factory.mktemp("empty")
    database = open_store(folder, WallClock()).database
    database.close()
    return database.path


@pytest.fixture
def store(tmp_path: Path, clock: WallClock, empty_database: Path) -> OperationStore:
    shutil.copy(empty_database, tmp_path / "stillroom.db")
    return open_store(tmp_path, clock)
