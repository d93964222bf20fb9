"""What every registry test starts from.

``registry`` is parametrized by backend: the behavioural suite holds for each backend there will be,
so a new one is added to ``BACKENDS`` and to nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stillroom_registry.registry import Registry

Open = Callable[[Path, "Clock"], Registry]
MakeFolder = Callable[..., Path]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def open_local(data_dir: Path, clock: Clock) -> Registry:
    return Registry.open(data_dir, clock=clock)


BACKENDS: dict[str, Open] = {"sqlite-local": open_local}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def open_registry(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Callable[[], Registry]]:
    """Opens the same registry, as often as it is called."""
    opened: list[Registry] = []

    def open_again() -> Registry:
        opened.append(BACKENDS[request.param](tmp_path / "data", clock))
        return opened[-1]

    yield open_again
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(open_registry: Callable[[], Registry]) -> Registry:
    return open_registry()


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes a folder with the given files (path to bytes) and answers it."""
    made = 0

    def make(files: Mapping[str, bytes] | None = None, /, **named: bytes) -> Path:
        nonlocal made
        made += 1
        folder = tmp_path / f"source{made}"
        folder.mkdir()
        for path, content in {**(files or {}), **named}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder

    return make
