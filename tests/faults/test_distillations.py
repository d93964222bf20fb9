"""Distillations in real runners: killed at any moment, cancelled in any phase, two at once.

``STILLROOM_KILLS`` sets how often each is killed (default 5), ``STILLROOM_CANCELS`` in how many
phases, chosen at random, each recipe is cancelled (default 3; 0: in all).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from distillation import teachers
from distillation.recipes.room import TRAINED, asking, check_nothing_leaked
from operations.processes import PROMPT

from faults.distilling import SLOW, Place
from faults.processes import until
from stillroom_registry.errors import NotFound
from stillroom_server.operations.model import OperationState

KILLS = int(os.environ.get("STILLROOM_KILLS", "5"))
CANCELS = int(os.environ.get("STILLROOM_CANCELS", "3"))
_BEFORE = ("corpus", "featurize")
_AFTER = ("write", "verify", "report", "publish")
PHASES = {
    "static": ("load", "encode", "reduce", *_AFTER),
    "static_tuned": (*_BEFORE, "load", "prepare", "encode", "fit", "train", *_AFTER),
    "transformer": (*_BEFORE, "prepare", "train", *_AFTER),
    "quantize": ("load", "quantize", *_AFTER),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, teachers.make("bert", tmp_path / "teacher"))
    yield made
    made.registry.close()


def request_of(recipe: str, name: str, **more: Any) -> dict[str, Any]:
    if recipe == "quantize":
        own = {"quantize": {"element_type": "int8"}}
        return {"teacher": "source", "name": name, "recipe": own, **more}
    return asking(recipe, name=name, **more)


@pytest.mark.slow
@pytest.mark.timeout(900 + 120 * KILLS)
@pytest.mark.parametrize("recipe", ["static", *TRAINED])
def test_killed_at_random_moments_the_bytes_are_the_same(place: Place, recipe: str) -> None:
    choose = Random(KILLS)
    with place.runner():
        done = place.ended(place.distill(request_of(recipe, "whole")))
        assert done.state is OperationState.SUCCEEDED, done.error
    place.forget_features()
    operation = place.distill(request_of(recipe, "small"))
    killed = 0
    for number in range(KILLS):
        # In the order of the phases, so that each is come to; in any of them, at any moment.
        phase = PHASES[recipe][number * len(PHASES[recipe]) // KILLS]
        place.forget_reached()
        place.hold(phase)
        with place.runner() as runner:
            place.until_reached(operation, phase)
            place.let_go()
            threading.Event().wait(choose.uniform(0, 0.1))
            runner.kill()
        if place.store.get(operation).done:
            break
        killed += 1
    with place.runner():
        ended = place.ended(operation)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert ended.attempt == killed + 1
    assert killed >= min(KILLS, 2)
    assert place.bytes_of("small") == place.bytes_of("whole")
    assert place.versions("small") == 1
    check_nothing_leaked(place.registry)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("recipe", PHASES)
def test_cancelled_in_a_phase_it_ends_in_time(place: Place, recipe: str) -> None:
    choose = Random(CANCELS)
    phases = list(PHASES[recipe])
    if CANCELS:
        phases = [phase for phase in phases if phase in choose.sample(phases, CANCELS)]
    with place.runner():
        source = place.ended(place.distill(asking("static", name="source")))
        assert source.state is OperationState.SUCCEEDED, source.error
    for phase in phases:
        place.forget_reached()
        place.forget_features()
        place.hold(phase)
        operation = place.distill(request_of(recipe, "small"))
        with place.runner():
            place.until_reached(operation, phase)
            assert place.store.get(operation).state is OperationState.RUNNING, phase
            start = time.monotonic()
            place.store.request_cancel(operation)
            until(lambda: place.store.get(operation).done)  # noqa: B023
            assert time.monotonic() - start < PROMPT, phase
            assert place.store.get(operation).state is OperationState.CANCELLED, phase
            until(lambda: not place.workspace(operation).exists())  # noqa: B023
        with pytest.raises(NotFound):
            place.registry.resolve("small")
    place.let_go()
    with place.runner():
        ended = place.ended(place.distill(request_of(recipe, "small")))
    assert ended.state is OperationState.SUCCEEDED, ended.error
    check_nothing_leaked(place.registry)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_short_one_waits_for_a_slice_of_a_long_one(place: Place) -> None:
    """The long one goes on where it was, and becomes what it would have become alone."""
    long = asking("transformer", name="long")
    long["recipe"]["transformer"]["max_epochs"] = 12
    with place.runner(slice_seconds=0.5):
        alone = place.ended(place.distill({**long, "name": "alone"}))
        assert alone.state is OperationState.SUCCEEDED, alone.error
        first = place.distill({**long, "description": SLOW})
        place.until_reached(first, "train")
        second = place.distill(asking("static", name="short"))
        short = place.ended(second)
        assert short.state is OperationState.SUCCEEDED, short.error
        waiting = place.store.get(first)
        assert waiting.state in (OperationState.PENDING, OperationState.RUNNING)
        ended = place.ended(first)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert ended.attempt >= 2
    assert short.attempt == 1
    assert place.bytes_of("long") == place.bytes_of("alone")
    check_nothing_leaked(place.registry)
