from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stillroom_registry.database import Database
from stillroom_registry.registry import Registry
from stillroom_server.cost.ledger.ledger import Ledger


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database file with all tables: copying it is much faster than migrating."""
    registry = Registry.open(tmp_path_factory.mktemp("empty") / "data")
    Ledger.open(registry.database)
    registry.database.close()
    return registry.database.path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Database:
    shutil.copy(empty_database, tmp_path / "stillroom.db")
    return Database.open(tmp_path / "stillroom.db")


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)
