"""SIGKILL of a runner at any moment of its pushes and pulls, with a Hub whose answers get lost.

``STILLROOM_KILLS`` sets how often (default 5).
"""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from random import Random

import pytest
from distillation.recipes.room import check_nothing_leaked
from hub.faults import Fault
from hub.room import REPO
from hub.running import Place
from hub.server import Hub

from faults.processes import until
from stillroom_registry.registry import ModelVersion
from stillroom_server.operations.model import Operation, OperationState

KILLS = int(os.environ.get("STILLROOM_KILLS", "5"))
MARK = "Stillroom-Operation: operations/"
_COMMIT = "POST /api/models/org/mini/commit/"
_REQUESTS = 30  # about as many as a push or a pull makes


def commits_by_operation(hub: Hub) -> dict[str, int]:
    """How many commits each operation made."""
    repo = hub.store.repos.get(("models", REPO))
    counts: dict[str, int] = {}
    for commit in [] if repo is None else repo.commits.values():
        for line in commit.message.splitlines():
            if line.startswith(MARK):
                name = line.removeprefix(MARK)
                counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.mark.slow
@pytest.mark.timeout(900 + 60 * KILLS)
def test_killed_at_random_moments_nothing_is_lost_or_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Random(KILLS)
    with Hub().running() as hub:
        place = Place(tmp_path, hub, monkeypatch)
        versions = [place.publish(), place.publish(dimensions=8)]
        pushes, pulls = [place.push(versions[0])], []
        with place.runner():
            assert place.ended(pushes[0]).state is OperationState.SUCCEEDED
        for number in range(KILLS):
            operation = _next(choose, place, versions, number, pushes, pulls)
            if choose.random() < 0.3:
                hub.faults.plan(Fault(_COMMIT, status=500, late=True))
            start, moment = len(hub.requests), choose.randrange(_REQUESTS)
            with place.runner() as runner:
                until(partial(_is_due, hub, start + moment, place, operation))
                # The moment is to be any moment: this is no waiting for something.
                threading.Event().wait(choose.uniform(0, 0.05))
                runner.kill()
        hub.faults.clear()
        with place.runner():
            ended = {each: place.ended(each) for each in (*pushes, *pulls)}
            # The runner removes a workspace after the end, and those that killed ones left.
            until(lambda: not any((tmp_path / "data/operations").iterdir()))
        _check(place, hub, pushes, pulls, ended)
        check_nothing_leaked(place.registry)
        place.registry.close()


def _is_due(hub: Hub, requests: int, place: Place, operation: str) -> bool:
    """Whether the Hub has had so many requests, or there will be no more of them."""
    return len(hub.requests) >= requests or place.room.store.get(operation).done


def _next(
    choose: Random,
    place: Place,
    versions: list[ModelVersion],
    number: int,
    pushes: list[str],
    pulls: list[str],
) -> str:
    """One more operation; the others may be unfinished still."""
    if choose.random() < 0.3:
        pulls.append(place.pull(choose.choice(["copy", "other"])))
        return pulls[-1]
    # Each differs from the one before, so each is a commit of its own.
    version = versions[len(pushes) % 2]
    pushes.append(place.push(version, tag=f"v{number}"))
    return pushes[-1]


def _check(
    place: Place,
    hub: Hub,
    pushes: list[str],
    pulls: list[str],
    ended: dict[str, Operation],
) -> None:
    for operation in ended.values():
        assert operation.state is OperationState.SUCCEEDED, operation.error
    assert commits_by_operation(hub) == dict.fromkeys(pushes, 1)
    repo = hub.store.repos["models", REPO]
    tagged = {}
    for each in pushes:
        result = ended[each].result or {}
        assert result["changed"]
        if tag := ended[each].request.get("tag"):
            tagged[tag] = result["commit"]
    assert repo.tags == tagged
    made: dict[tuple[str, str], set[str]] = {}
    for each in pulls:
        result = ended[each].result or {}
        name = str(ended[each].request["name"])
        made.setdefault((name, result["commit"]), set()).add(result["model_version"])
    assert all(len(names) == 1 for names in made.values())
    for name in {name for name, _ in made}:
        there = {version.name for version in place.registry.list_versions(name, 1000).items}
        assert there == {
            one for (model, _), names in made.items() if model == name for one in names
        }
