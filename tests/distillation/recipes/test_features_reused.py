"""The teacher embeds a corpus once, for whichever recipe and operation, and a cache is no truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from distillation.contexts import Context
from distillation.recipes.conftest import Whole
from distillation.recipes.room import TRAINED, Room, asking

from stillroom_server.distillation.features import encoding
from stillroom_server.distillation.tuning.options import COMPOSED_SHARE

COMPOSED = int(COMPOSED_SHARE * 120)  # of the 160 texts, 40 are held out


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts the teacher embedded for features, shard by shard."""
    found: list[int] = []
    real = encoding.ShardEncoder.encode

    def encode(self: encoding.ShardEncoder, texts: list[str], *rest: object) -> object:
        found.append(len(texts))
        return real(self, texts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encoding.ShardEncoder, "encode", encode)
    return found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        TRAINED,
        pytest.param(*TRAINED[::-1], marks=pytest.mark.slow),
        pytest.param(*TRAINED[:1] * 2, marks=pytest.mark.slow),
    ],
)
def test_a_second_distillation_computes_nothing(
    room: Room, whole: Whole, embedded: list[int], first: str, second: str
) -> None:
    room.distill(asking(first, name="first"))
    assert sum(embedded) == 160 + (COMPOSED if first == "static_tuned" else 0)
    embedded.clear()
    report = room.distill(asking(second))["report"]
    # What tuning composes of the corpus, no other recipe reads.
    new = [COMPOSED] if (first, second) == TRAINED[::-1] else []
    assert embedded == new
    assert room.bytes_of() == whole(second)
    assert (report["measured_speed"]["teacher_tokens_per_second"] is None) == (not new)


@pytest.mark.slow
def test_other_texts_are_other_vectors(room: Room, embedded: list[int]) -> None:
    room.distill(asking("transformer", name="first"))
    embedded.clear()
    texts = [*asking("transformer")["corpus"]["texts"], "one more text of the room"]
    room.distill(asking("transformer", texts))
    assert sum(embedded) > 0


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flipped, halved, emptied])
def test_a_damaged_cache_is_computed_again(
    room: Room, whole: Whole, embedded: list[int], damage: Callable[[Path], None]
) -> None:
    room.distill(asking("transformer", name="first"))
    for path in room.cached:
        damage(path)
    embedded.clear()
    room.distill(asking("transformer"))
    assert sum(embedded) == 160
    assert room.bytes_of() == whole("transformer")
    embedded.clear()
    room.distill(asking("transformer", name="third"))
    assert embedded == []


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 10_000])
def test_the_limit_of_the_cache_holds(room: Room, whole: Whole, limit: int) -> None:
    room.settings["feature_cache_bytes"] = limit
    for recipe in TRAINED:
        room.distill(asking(recipe))
        assert room.bytes_of() == whole(recipe)
        assert sum(path.stat().st_size for path in room.cached) <= limit


class Sweeps(Context):
    """Somebody removes the cache whenever a phase begins."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.context().workspace)
        self._folder = room.root / "data/cache/features"

    def progress(self, phase: str, *numbers: int, unit: str, message: str = "") -> None:
        if phase not in self.phases[-1:]:
            shutil.rmtree(self._folder, ignore_errors=True)
        super().progress(phase, *numbers, unit=unit, message=message)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_a_cache_that_goes_while_it_is_used_is_not_missed(
    room: Room, whole: Whole, recipe: str
) -> None:
    room.distill(asking(recipe, name="first"))
    room.distill(asking(recipe), Sweeps(room))
    assert room.bytes_of() == whole(recipe)
