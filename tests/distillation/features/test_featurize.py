"""Vectors of a corpus: right, computed once, the same after a kill, never damaged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distillation import teachers
from distillation.corpus.support import Recorder, from_texts
from distillation.features.support import OPTIONS, Loads, run, vectors

from stillroom_registry.errors import Cancelled, FailedPrecondition, ResourceExhausted
from stillroom_server.distillation.corpus import Corpus
from stillroom_server.distillation.features import FeatureCache, FeatureOptions
from stillroom_server.distillation.teacher import Teacher

TEXTS = [f"the quick {word} number {i}" for i in range(900) for word in ("fox", "dog", "student")]
LIMIT = 1 << 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """2,700 texts: two shards to train on, one held out."""
    return from_texts(TEXTS, tmp_path_factory.mktemp("corpus") / "c", held_out=0.1)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", LIMIT)


@pytest.fixture
def folder_of(teacher_of: Callable[[str], Path]) -> Path:
    return teacher_of("bert")


def test_rows_are_the_teachers_vectors_of_the_texts(
    corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    context = Recorder()
    features = run(Loads(folder_of), corpus, cache, tmp_path / "f", context)
    teacher = Teacher.load(folder_of, device="cpu", dtype="float32")
    for index, shard in enumerate(corpus.training):
        found = features.training(index)
        assert found.shape == (shard.count, features.dim)
        assert not found.flags.writeable
        np.testing.assert_allclose(found, teacher.encode(shard.texts()), atol=1e-5)
    expected = teacher.encode(corpus.held_out[0].texts())
    np.testing.assert_allclose(features.all_held_out(), expected, atol=1e-5)
    assert np.array_equal(features.held_out(0), features.all_held_out())
    assert features.tokens_per_second
    assert (features.texts, features.cached) == (2700, 0)
    assert context.told[0] == ("featurize", 0, 2700, "texts")
    assert context.told[-1] == ("featurize", 2700, 2700, "texts")


def test_the_number_of_threads_changes_no_bit(
    corpus: Corpus, folder_of: Path, tmp_path: Path
) -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            none = FeatureCache(tmp_path / "none", 0)
            load = Loads(folder_of)
            features = run(load, corpus, none, tmp_path / str(threads), Recorder())
            assert load.threads == {1}  # a pass on two may add in another order
            assert torch.get_num_threads() == threads
            found.append(vectors(features))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert not (tmp_path / "none").exists()


def test_a_second_operation_loads_no_teacher(
    corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    first = run(Loads(folder_of), corpus, cache, tmp_path / "a", Recorder())
    load = Loads(folder_of)
    second = run(load, corpus, cache, tmp_path / "b", Recorder())
    assert load.loads == 0
    assert (second.cached, second.seconds, second.tokens_per_second) == (2700, 0.0, None)
    assert np.array_equal(vectors(first), vectors(second))
    linked = first.training_shards[0].path.stat(), second.training_shards[0].path.stat()
    assert linked[0].st_ino == linked[1].st_ino


@pytest.mark.parametrize(
    "other",
    [
        {"teacher": "sha256:other"},
        {"options": FeatureOptions(dtype="float32", device="cpu", max_tokens=4)},
        {"options": FeatureOptions(dtype="float32", device="cpu", prompt_name="")},
        {"options": FeatureOptions(dtype="float32", device="cpu", normalize=False)},
        {"options": FeatureOptions(dtype="float32", device="cpu", pooling="cls")},
    ],
)
def test_what_changes_numbers_is_computed_anew(
    other: dict[str, Any], corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    run(Loads(folder_of), corpus, cache, tmp_path / "a", Recorder())
    load = Loads(folder_of)
    run(load, corpus, cache, tmp_path / "b", Recorder(), **other)
    assert load.rows == 2700


def test_texts_are_cut_where_asked(
    corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    options = FeatureOptions(dtype="float32", device="cpu", max_tokens=4)
    load = Loads(folder_of)
    features = run(load, corpus, cache, tmp_path / "a", Recorder(), options)
    found = features.training(0)
    assert len(np.unique(found.round(4), axis=0)) < 50  # the texts differ behind the cut


def test_a_prompt_is_put_before_every_text(
    folder_of: Path, cache: FeatureCache, tmp_path: Path
) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = teachers.with_modules(
        folder_of,
        tmp_path / "prompted",
        lambda: Pooling(32, "mean", include_prompt=False),
        prompts={"query": "the student reads: "},
    )
    small = from_texts(["a fox", "two dogs in a house", "three"], tmp_path / "c")
    options = FeatureOptions(dtype="float32", device="cpu", prompt_name="query")
    features = run(Loads(folder), small, cache, tmp_path / "f", Recorder(), options)
    teacher = Teacher.load(folder, device="cpu", dtype="float32")
    expected = teacher.encode(small.training[0].texts(), prompt_name="query")
    np.testing.assert_allclose(features.training(0), expected, atol=1e-5)
    assert not np.allclose(expected, teacher.encode(small.training[0].texts(), prompt=""))


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "short":
        del data[-4:]
    elif how == "empty":
        data.clear()
    else:
        data[{"header": 45, "digest": 60, "vector": 4000}[how]] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["short", "empty", "header", "digest", "vector"])
def test_a_damaged_file_is_never_served(
    how: str, corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    first = vectors(run(Loads(folder_of), corpus, cache, tmp_path / "a", Recorder()))
    for path in (tmp_path / "cache").iterdir():
        damage(path, how)
    load = Loads(folder_of)
    second = run(load, corpus, cache, tmp_path / "b", Recorder())
    assert load.rows == 2700
    assert np.array_equal(vectors(second), first)
    third = Loads(folder_of)
    run(third, corpus, cache, tmp_path / "c", Recorder())
    assert third.loads == 0  # the cache is mended


def test_a_file_under_another_name_is_not_served(
    corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    first = run(Loads(folder_of), corpus, cache, tmp_path / "a", Recorder())
    expected = vectors(first)
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
        path.hardlink_to(first.held_out_shards[0].path)
    second = run(Loads(folder_of), corpus, cache, tmp_path / "b", Recorder())
    assert np.array_equal(vectors(second), expected)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("write", range(3))
def test_killed_at_any_write_only_the_rest_is_computed(
    write: int, corpus: Corpus, folder_of: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = FeatureCache(tmp_path / "cache", 0)
    expected = vectors(run(Loads(folder_of), corpus, none, tmp_path / "whole", Recorder()))
    real, count = Path.replace, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == write + 1:
            raise Killed
        return real(self, target)

    folder = tmp_path / "f"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            run(Loads(folder_of), corpus, none, folder, Recorder())
    load = Loads(folder_of)
    again = run(load, corpus, none, folder, Recorder())
    counts = [shard.count for shard in (*corpus.training, *corpus.held_out)]
    assert load.rows == sum(counts[write:])
    assert np.array_equal(vectors(again), expected)
    assert not list(folder.glob("*.unfinished"))


def test_a_cancellation_is_let_through_between_batches(
    corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    def cancel(number: int) -> None:
        if number == 12:
            raise Cancelled("stop")

    load, context = Loads(folder_of), Recorder(cancel)
    with pytest.raises(Cancelled):
        run(load, corpus, cache, tmp_path / "f", context)
    assert context.checks == 12
    assert load.rows < 2700


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(
    value: float, corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    def spoil(found: Any) -> Any:
        found[0, 3] = value
        return found

    with pytest.raises(FailedPrecondition) as caught:
        run(Loads(folder_of, spoil), corpus, cache, tmp_path / "f", Recorder())
    assert (caught.value.reason, caught.value.field) == ("TEACHER_NOT_FINITE", "teacher")
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_told_and_what_is_whole_stays(
    corpus: Corpus, folder_of: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none, real, count = FeatureCache(tmp_path / "cache", 0), os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count > 2:  # a file and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceExhausted) as caught:
            run(Loads(folder_of), corpus, none, tmp_path / "f", Recorder())
    assert caught.value.reason == "DISK_FULL"
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["training-00000.vectors"]
    load = Loads(folder_of)
    run(load, corpus, none, tmp_path / "f", Recorder())
    assert load.rows == 2700 - corpus.training[0].count


def test_a_teacher_of_another_element_type_is_refused(
    corpus: Corpus, cache: FeatureCache, folder_of: Path, tmp_path: Path
) -> None:
    options = FeatureOptions(dtype="bfloat16", device="cpu")
    with pytest.raises(Exception, match="was loaded as"):
        run(Loads(folder_of), corpus, cache, tmp_path / "f", Recorder(), options)


def test_a_small_cache_still_serves_what_it_has(
    corpus: Corpus, folder_of: Path, tmp_path: Path
) -> None:
    """Reading in order through a cache that is too small must not push out what comes next."""
    whole = FeatureCache(tmp_path / "cache", LIMIT)
    run(Loads(folder_of), corpus, whole, tmp_path / "a", Recorder())
    sizes = sorted(path.stat().st_size for path in (tmp_path / "cache").iterdir())
    small = FeatureCache(tmp_path / "cache", sizes[-1])
    small.trim()
    left = len(list((tmp_path / "cache").iterdir()))
    assert 0 < left < 3
    load = Loads(folder_of)
    run(load, corpus, small, tmp_path / "b", Recorder(), OPTIONS)
    assert 0 < load.rows < 2700
