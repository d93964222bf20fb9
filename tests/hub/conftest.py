from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub.room import Room
from hub.server import LFS, Hub


@pytest.fixture
def lib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """The library as in a fresh process without Xet, its cache elsewhere; how long it waited."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    waited: list[float] = []
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def hub(lib: list[float]) -> Iterator[Hub]:
    with Hub(transfer=LFS).running() as running:
        yield running


@pytest.fixture
def room(tmp_path: Path, hub: Hub) -> Iterator[Room]:
    made = Room(tmp_path, hub)
    yield made
    made.registry.close()
