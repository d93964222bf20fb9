from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from classification.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room.open(tmp_path)
    yield made
    made.registry.close()
