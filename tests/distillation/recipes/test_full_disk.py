"""A disk that is full at any write: it is said, nothing is registered, and there is a next time."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from typing import Any

import pytest
from distillation.recipes.conftest import Whole
from distillation.recipes.room import TRAINED, Room, asking, check_nothing_leaked

from stillroom_registry.errors import ResourceExhausted


class Disk:
    """Full from the ``full_at``-th sync to it on (0: never), until there is room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = self.full_at = 0
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, file: Any) -> None:
        self.syncs += 1
        if self.full_at and self.syncs >= self.full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._real(file)


@pytest.mark.parametrize(
    "recipe",
    ["static_tuned", *(pytest.param(it, marks=pytest.mark.slow) for it in ("static", TRAINED[1]))],
)
def test_full_at_any_sync(
    room: Room, whole: Whole, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further on with every attempt of one operation."""
    disk = Disk(monkeypatch)
    room.distill(asking(recipe, name="other"))
    total = disk.syncs
    assert total > 4
    context = room.context()
    for full_at in (1, total // 8, total // 8, total // 4):  # less than half of it in all
        disk.syncs, disk.full_at = 0, full_at
        with pytest.raises(ResourceExhausted) as caught:
            room.attempt(asking(recipe), context)
        assert caught.value.reason == "DISK_FULL"
        assert not room.has("small")
        disk.full_at = 0
    room.distill(asking(recipe), context)
    assert room.bytes_of() == whole(recipe)
    assert room.registry.resolve("small").version == 1
    check_nothing_leaked(room.registry)


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [
        "distillation.corpus.shards._write",
        "distillation.features.featurize.write_vectors",
        "distillation.transformer.training.write_checkpoint",
        "distillation.transformer.recipe._write",
        "distillation.transformer.onnx_export.write",
        "distillation.fidelity.attach.attach",
    ],
)
def test_full_at_a_write_by_name(
    room: Room, whole: Whole, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    context = room.context()
    with monkeypatch.context() as patch:
        module, _, name = f"stillroom_server.{write}".rpartition(".")
        patch.setattr(import_module(module), name, full)
        with pytest.raises(ResourceExhausted) as caught:
            room.attempt(asking("transformer"), context)
    assert caught.value.reason == "DISK_FULL"
    assert not room.has("small")
    room.distill(asking("transformer"), context)
    assert room.bytes_of() == whole("transformer")
    check_nothing_leaked(room.registry)


@pytest.mark.slow
def test_full_at_a_checkpoint_the_one_before_is_kept(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillroom_server.distillation.transformer import training

    context = room.context()
    real, calls = training.write_checkpoint, []

    def third(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_checkpoint", third)
        with pytest.raises(ResourceExhausted):
            room.attempt(asking("transformer"), context)
    kept = sorted(path.name for path in context.workspace.glob("checkpoints-training/*"))
    assert kept == ["step-00000001", "step-00000002"]
    first = room.context()
    room.attempt(asking("transformer", name="other"), first)
    context.checkpoints = 0
    room.attempt(asking("transformer"), context)
    assert context.checkpoints == first.checkpoints - 2
