"""Trainings of classifiers in real runners: killed at any moment, cancelled in any phase.

``STILLROOM_KILLS`` and ``STILLROOM_CANCELS`` as in ``test_distillations``.
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
from classification.room import asking, single
from classification.test_interruptions import GRADIENT
from distillation.recipes.room import check_nothing_leaked
from operations.processes import PROMPT

from faults.classifying import Place
from faults.processes import until
from stillroom_registry.errors import NotFound
from stillroom_server.operations.model import OperationState

KILLS = int(os.environ.get("STILLROOM_KILLS", "5"))
CANCELS = int(os.environ.get("STILLROOM_CANCELS", "3"))
PHASES = ("data", "encode", "train", "calibrate", "write", "verify", "report", "publish")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.registry.close()


def request_of(name: str) -> dict[str, Any]:
    return asking(single(10), name=name, options=GRADIENT)


@pytest.mark.slow
@pytest.mark.timeout(900 + 120 * KILLS)
def test_killed_at_random_moments_the_bytes_are_the_same(place: Place) -> None:
    choose = Random(KILLS)
    with place.runner():
        done = place.ended(place.train(request_of("whole")))
        assert done.state is OperationState.SUCCEEDED, done.error
    operation = place.train(request_of("sorter"))
    killed = 0
    for number in range(KILLS):
        phase = PHASES[number * len(PHASES) // KILLS]
        place.forget_reached()
        place.hold(phase)
        with place.runner() as runner:
            place.until_reached(operation, phase)
            place.let_go()
            threading.Event().wait(choose.uniform(0, 0.05))
            runner.kill()
        if place.store.get(operation).done:
            break
        killed += 1
    with place.runner():
        ended = place.ended(operation)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert ended.attempt == killed + 1
    assert killed >= min(KILLS, 2)
    assert place.bytes_of("sorter") == place.bytes_of("whole")
    assert place.versions("sorter") == 1
    check_nothing_leaked(place.registry)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cancelled_in_a_phase_it_ends_in_time(place: Place) -> None:
    phases = Random(CANCELS).sample(PHASES, CANCELS) if CANCELS else list(PHASES)
    for phase in phases:
        place.forget_reached()
        place.hold(phase)
        operation = place.train(request_of("sorter"))
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
            place.registry.resolve("sorter")
    place.let_go()
    with place.runner():
        ended = place.ended(place.train(request_of("sorter")))
    assert ended.state is OperationState.SUCCEEDED, ended.error
    check_nothing_leaked(place.registry)
