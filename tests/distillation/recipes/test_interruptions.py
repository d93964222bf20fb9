"""A distillation that is killed, cancelled or sent behind others, and goes on: the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from distillation.contexts import Context, Killed
from distillation.recipes.conftest import Whole
from distillation.recipes.room import TRAINED, Room, asking, check_nothing_leaked

from stillroom_registry.errors import Cancelled

RECIPES = ("static", *TRAINED)


class DiesAfter(Context):
    """Killed when a phase begins and the one before it was ``phase``."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        self.phase = ""

    def progress(self, phase: str, *numbers: int, unit: str, message: str = "") -> None:
        if self.phase in self.phases and phase != self.phase:
            raise Killed
        super().progress(phase, *numbers, unit=unit, message=message)


class CancelledIn(Context):
    """Cancelled from the moment on at which ``phase`` begins, as a user cancels."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        self.phase = ""

    def check_cancelled(self) -> None:
        if self.phase in self.phases:
            raise Cancelled("stop")


def phases_of(room: Room, recipe: str) -> list[str]:
    """As they come when nothing disturbs; they are those that were announced."""
    probe = room.context()
    room.distill(asking(recipe, name="other"), probe)
    phases = list(dict.fromkeys(probe.phases))
    assert set(phases) == set(probe.expected)
    return phases


@pytest.mark.parametrize("recipe", TRAINED)
def test_killed_at_a_checkpoint_the_bytes_are_the_same(
    room: Room, whole: Whole, recipe: str
) -> None:
    """Three attempts of one operation, each from where the one before it was."""
    context = room.context()
    for number in (1, 1, 2):
        context.die_at, context.checkpoints = number, 0
        with pytest.raises(Killed):
            room.attempt(asking(recipe), context)
        assert not room.has("small")
    context.die_at = 0
    room.distill(asking(recipe), context)
    assert room.bytes_of() == whole(recipe)
    assert room.registry.resolve("small").version == 1
    check_nothing_leaked(room.registry)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_what_is_behind_a_checkpoint_is_not_done_again(room: Room, recipe: str) -> None:
    first = room.context()
    room.attempt(asking(recipe), first)
    assert first.checkpoints > 3
    context = room.context()
    context.die_at = first.checkpoints - 1
    with pytest.raises(Killed):
        room.attempt(asking(recipe), context)
    context.die_at = context.checkpoints = 0
    room.attempt(asking(recipe), context)
    assert context.checkpoints <= 2


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_after_every_phase(room: Room, whole: Whole, recipe: str) -> None:
    context = DiesAfter(room.context().workspace)
    for phase in phases_of(room, recipe)[:-1]:
        shutil.rmtree(room.root / "data/cache/features", ignore_errors=True)
        context.phase, context.phases = phase, []
        with pytest.raises(Killed):
            room.attempt(asking(recipe), context)
        assert not room.has("small")
    context.phase = ""
    room.distill(asking(recipe), context)
    assert room.bytes_of() == whole(recipe)
    check_nothing_leaked(room.registry)


@pytest.mark.parametrize(
    "recipe",
    [TRAINED[0], *(pytest.param(it, marks=pytest.mark.slow) for it in ("static", TRAINED[1]))],
)
def test_cancelled_in_every_phase(room: Room, whole: Whole, recipe: str) -> None:
    """In each in turn, of one workspace: every one is left so that the next attempt goes on."""
    phases = phases_of(room, recipe)
    context = CancelledIn(room.context().workspace)
    for at, phase in enumerate(phases):
        context.phase, context.phases = phase, []
        with pytest.raises(Cancelled):
            room.attempt(asking(recipe), context)
        assert set(context.phases) <= set(phases[: at + 2])
        assert not room.has("small")
    context.phase = ""
    room.distill(asking(recipe), context)
    assert room.bytes_of() == whole(recipe)
    check_nothing_leaked(room.registry)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    room: Room, whole: Whole, recipe: str
) -> None:
    context = room.context()
    context.die_at = 3
    with pytest.raises(Killed):
        room.attempt(asking(recipe), context)
    (newest,) = sorted(context.workspace.glob("checkpoints-*/step-*"))[-1:]
    for path in newest.iterdir():
        if path.name != "seal.json":
            path.write_bytes(path.read_bytes()[:-1] + b"\0")
    context.die_at = 0
    room.distill(asking(recipe), context)
    assert room.bytes_of() == whole(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_checkpoints_of_other_work_are_not_used(room: Room, whole: Whole, recipe: str) -> None:
    """As after an update of the server that reads the request in another way."""
    context = room.context()
    context.die_at = 3
    other = asking(recipe)
    options = other["recipe"][recipe]
    options.get("static", options)["seed"] = 5
    with pytest.raises(Killed):
        room.attempt(other, context)
    context.die_at = 0
    room.distill(asking(recipe), context)
    assert room.bytes_of() == whole(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_another_seed_makes_another_student(room: Room, whole: Whole, recipe: str) -> None:
    """Else the tests of this file would hold nothing."""
    request = asking(recipe)
    own = request["recipe"][recipe]
    own.get("static", own)["seed"] = 5
    room.distill(request)
    weights = "model.safetensors"
    assert room.bytes_of()[weights] != whole(recipe)[weights]
