"""A training that is killed, cancelled or starved, and goes on: the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

import pytest
from classification.contexts import Killed
from classification.room import Room, asking
from distillation.recipes.room import check_nothing_leaked

from stillroom_registry.errors import Cancelled, ResourceExhausted

GRADIENT = {
    "linear": {"solver": "LINEAR_SOLVER_GRADIENT"},
    "encoder_tuning": {"mode": "ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS"},
    "ngrams": {"mode": "NGRAM_MODE_ON"},
    "max_epochs": 4,
}
KINDS: dict[str, dict[str, Any]] = {"quick": {}, "gradient": {"options": GRADIENT}}


def phases_of(room: Room, request: dict[str, Any]) -> list[str]:
    """As they come when nothing disturbs."""
    probe = room.context()
    room.train({**request, "name": "whole"}, probe)
    return list(dict.fromkeys(probe.phases))


@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_every_phase_the_bytes_are_the_same(room: Room, kind: str) -> None:
    """Attempts of one operation, each from where the one before it was."""
    request = asking(**KINDS[kind])
    phases = phases_of(room, request)
    context = room.context()
    for phase in phases[:-1]:
        context.dies_after = phase
        with pytest.raises(Killed):
            room.attempt(request, context)
        assert not room.has()
    context.dies_after = ""
    room.train(request, context)
    assert room.bytes_of() == room.bytes_of("whole")
    assert room.registry.resolve("sorter").version == 1
    check_nothing_leaked(room.registry)


def test_killed_at_every_checkpoint(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    _save_always(monkeypatch)
    request = asking(**KINDS["gradient"])
    probe = room.context()
    room.train({**request, "name": "whole"}, probe)
    assert probe.checkpoints > 2
    context = room.context()
    for _ in range(probe.checkpoints):
        context.die_at, context.checkpoints = 1, 0
        with pytest.raises(Killed):
            room.attempt(request, context)
        assert not room.has()
    context.die_at = context.checkpoints = 0
    room.train(request, context)
    assert context.checkpoints == 0  # nothing was done twice
    assert room.bytes_of() == room.bytes_of("whole")


def _save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    from stillroom_server.classification.training import trail

    monkeypatch.setattr(trail, "SAVE_SECONDS", 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_in_every_phase(room: Room, kind: str) -> None:
    request = asking(**KINDS[kind])
    phases = phases_of(room, request)
    context = room.context()
    for at, phase in enumerate(phases):
        context.cancelled_in = phase
        with pytest.raises(Cancelled):
            room.attempt(request, context)
        assert set(context.phases) <= set(phases[: at + 2])
        assert not room.has()
    context.cancelled_in = ""
    room.train(request, context)
    assert room.bytes_of() == room.bytes_of("whole")
    check_nothing_leaked(room.registry)


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


def test_a_disk_that_is_full_at_any_sync(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    path = room.root / "data.jsonl"
    path.write_text("".join(f'{{"text": "the {w}", "label": "{w[0]}"}}\n' for w in WORDS))
    request = asking() | {"data": {"path": str(path)}}
    room.train({**request, "name": "whole"})
    total = disk.syncs
    context = room.context()
    for full_at in range(1, total, max(1, total // 8)):
        disk.syncs, disk.full_at = 0, full_at
        with pytest.raises(ResourceExhausted) as caught:
            room.attempt(request, context)
        assert caught.value.reason == "DISK_FULL"
        assert not room.has()
        disk.full_at = 0
        shutil.rmtree(context.workspace)
        context.workspace.mkdir()
    room.train(request, context)
    assert room.bytes_of() == room.bytes_of("whole")
    check_nothing_leaked(room.registry)


WORDS = ("river", "register", "mountain", "musician", "umbrella", "question") * 4
