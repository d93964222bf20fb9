"""The cache of vectors by itself, and how batches are made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom_registry.registry import Registry
from stillroom_server.distillation.features import FeatureCache
from stillroom_server.distillation.features.batches import batch_tokens, pieces, plan
from stillroom_server.distillation.features.vector_file import check_vectors, write_vectors

SIZE = 128 + 4 * 10 * 8


def key(number: int) -> str:
    return f"{number:064x}"


def keep(cache: FeatureCache, folder: Path, number: int) -> Path:
    path = folder / f"{number}.vectors"
    write_vectors(path, key(number), np.full((10, 8), number, dtype=np.float32))
    cache.put(key(number), path)
    return path


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", 3 * SIZE, Clock())


def test_the_least_recently_used_go_first(cache: FeatureCache, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        keep(cache, tmp_path, number)
    assert cache.take(key(1), tmp_path / "taken")
    keep(cache, tmp_path, 4)
    assert not cache.take(key(2), tmp_path / "x")
    for number in (1, 3, 4):
        assert cache.take(key(number), tmp_path / f"got{number}")
        assert check_vectors(tmp_path / f"got{number}", key(number), 10) == 8
    kept = list((tmp_path / "cache").iterdir())
    assert sum(path.stat().st_size for path in kept) == 3 * SIZE


def test_what_is_used_outlives_its_eviction(cache: FeatureCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1)
    assert cache.take(key(1), tmp_path / "taken")
    for number in range(2, 6):
        keep(cache, tmp_path, number)
    assert not cache.take(key(1), tmp_path / "x")
    assert check_vectors(tmp_path / "taken", key(1), 10) == 8


@pytest.mark.parametrize("limit", [0, SIZE - 1])
def test_what_is_larger_than_the_limit_is_not_kept(limit: int, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache", limit)
    keep(cache, tmp_path, 1)
    assert not cache.take(key(1), tmp_path / "x")


def test_a_limit_that_was_lowered_holds_too(cache: FeatureCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1)
    none = FeatureCache(tmp_path / "cache", 0)
    assert not none.take(key(1), tmp_path / "x")
    keep(none, tmp_path, 2)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_without_hard_links_it_copies(
    code: int, cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = keep(cache, tmp_path, 1)
    assert cache.take(key(1), tmp_path / "taken")
    assert check_vectors(tmp_path / "taken", key(1), 10) == 8
    assert path.stat().st_nlink == 1
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_disk_that_keeps_nothing_is_no_failure(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", full)
    keep(cache, tmp_path, 1)
    assert not list((tmp_path / "cache").iterdir())


def test_vectors_of_another_key_or_length_are_not_taken_for_whole(
    cache: FeatureCache, tmp_path: Path
) -> None:
    path = keep(cache, tmp_path, 1)
    assert check_vectors(path, key(1), 10) == 8
    assert check_vectors(path, key(2), 10) is None
    assert check_vectors(path, key(1), 11) is None


def test_putting_twice_changes_nothing(cache: FeatureCache, tmp_path: Path) -> None:
    path = keep(cache, tmp_path, 1)
    cache.put(key(1), path)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{key(1)}.vectors"]


def test_what_a_kill_left_goes_when_it_is_old(tmp_path: Path) -> None:
    root, clock = tmp_path / "cache", Clock()
    cache = FeatureCache(root, 9 * SIZE, clock)
    keep(cache, tmp_path, 1)
    old, new, foreign = root / "a.unfinished", root / "b.unfinished", root / "note"
    for path, age in ((old, 4000), (new, 10), (foreign, 4000)):
        path.write_bytes(b"x")
        os.utime(path, (clock.now - age,) * 2)
    cache.trim()
    assert [path.exists() for path in (old, new, foreign)] == [False, True, True]


def test_the_registrys_garbage_collection_leaves_it_alone(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    registry = Registry.open(tmp_path / "data")
    cache = FeatureCache(tmp_path / "data" / "cache" / "features", 9 * SIZE)
    keep(cache, tmp_path, 1)
    registry.collect_garbage(grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=365))
    assert cache.take(key(1), tmp_path / "taken")


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 500))
def test_batches_hold_every_row_once_within_the_bound(lengths: list[int], tokens: int) -> None:
    batches = plan(lengths, tokens)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[at] for at in batch)
        assert len(batch) == 1 or len(batch) * longest <= tokens or longest == 0
    longest_first = [lengths[at] for batch in batches for at in batch]
    assert longest_first == sorted(lengths, reverse=True)


@given(st.lists(st.text(max_size=9), max_size=40))
def test_pieces_are_all_texts_in_order(texts: list[str]) -> None:
    assert [text for piece in pieces(texts) for text in piece] == texts


def test_long_texts_come_in_small_pieces() -> None:
    texts = ["x" * 16_384] * 100
    assert [len(piece) for piece in pieces(texts)] == [33, 33, 33, 1]


def test_larger_teachers_get_smaller_batches() -> None:
    sizes = [batch_tokens(*shape, "cpu") for shape in ((2, 32), (6, 384), (12, 768), (28, 1024))]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (2048, 256)
    assert batch_tokens(6, 384, "cuda") > 2048
