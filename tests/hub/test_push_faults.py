"""Pushes whose answers are lost, come late or are refused: no second commit, and none lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hub.faults import Fault
from hub.room import REPO, Killed, Room
from stillroom_registry.errors import Unavailable
from stillroom_server.operations.model import CancelRequested
from stillroom_server.sync.values import SyncState

COMMIT = "POST /api/models/org/mini/commit/"


def once(room: Room, name: str) -> bool:
    return room.hub.commits(REPO) == [f"Publish {name}"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(COMMIT, status=500, late=True),
        Fault(COMMIT, status=502, late=True),
        Fault(COMMIT, drop=True, late=True),
        Fault(COMMIT, status=500),
        Fault(COMMIT, drop=True),
        Fault(COMMIT, status=503, times=3),
        Fault(COMMIT, status=412),
    ],
    ids=lambda fault: f"{fault.status or 'drop'}{'-late' if fault.late else ''}-{fault.times}",
)
def test_a_commit_whose_answer_is_an_error_is_made_once(room: Room, fault: Fault) -> None:
    version = room.publish()
    room.hub.faults.plan(fault)
    result = room.push(version, tag="v1")
    assert once(room, version.name)
    repo = room.hub.store.repos["models", REPO]
    assert result["commit"] == repo.branches["main"] == repo.tags["v1"]
    assert result["changed"]


def test_a_commit_whose_answer_never_comes_is_made_once(room: Room) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(COMMIT, hang=True, late=True))
    assert room.push(version)["changed"]
    assert once(room, version.name)


def test_a_commit_that_arrives_after_its_time_out_is_the_only_one(room: Room) -> None:
    """The first request is still under way when the second is sent; the first one wins."""
    version = room.publish()
    held: list[Callable[[], object]] = []
    hub = room.hub
    true_answer = hub.answer

    def delay(request: object) -> object:
        if "commit" in request.parts and not held:  # type: ignore[attr-defined]
            held.append(lambda: true_answer(request))  # type: ignore[arg-type]
            from hub.answers import Answer

            return Answer(504, b"{}")
        if "commit" in request.parts and len(held) == 1:  # type: ignore[attr-defined]
            held.append(lambda: None)
            held[0]()
        return true_answer(request)  # type: ignore[arg-type]

    hub.answer = delay  # type: ignore[assignment, method-assign]
    assert room.push(version)["changed"]
    assert once(room, version.name)


def test_a_process_that_dies_after_the_commit_leaves_no_second_one(room: Room) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(COMMIT, status=500, late=True))
    room.die_waiting = True
    operation = room.queue_push(version, tag="v1")
    with pytest.raises(Killed):
        room.run(operation)
    assert once(room, version.name)
    assert room.sync(operation).state is SyncState.RUNNING
    room.die_waiting = False
    result = room.run(operation)
    assert once(room, version.name)
    assert result["changed"]
    assert room.hub.store.repos["models", REPO].tags == {"v1": result["commit"]}


def test_a_process_that_dies_before_the_commit_loses_nothing(room: Room) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(COMMIT, status=500))
    room.die_waiting = True
    operation = room.queue_push(version)
    with pytest.raises(Killed):
        room.run(operation)
    assert room.hub.commits(REPO) == []
    room.die_waiting = False
    assert room.run(operation)["changed"]
    assert once(room, version.name)


def test_our_commit_is_found_under_somebody_elses(room: Room) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(COMMIT, status=500, late=True))
    room.die_waiting = True
    operation = room.queue_push(version, tag="v1")
    with pytest.raises(Killed):
        room.run(operation)
    room.hub.store.put("models", REPO, {"config.json": b"{}"})
    room.die_waiting = False
    result = room.run(operation)
    repo = room.hub.store.repos["models", REPO]
    assert result["commit"] == repo.commits[repo.branches["main"]].parent
    assert room.hub.commits(REPO) == ["Update by hand", f"Publish {version.name}"]


def test_a_push_that_was_given_up_after_its_commit_is_no_stranger_to_the_next(room: Room) -> None:
    first = room.publish()
    room.hub.faults.plan(Fault(COMMIT, status=500, late=True))
    room.die_waiting = True
    operation = room.queue_push(first)
    with pytest.raises(Killed):
        room.run(operation)
    room.store.request_cancel(operation)
    room.die_waiting = False
    second = room.publish(dimensions=8)
    queued = room.queue_push(second)
    assert room.run(queued)["changed"]
    assert room.hub.commits(REPO) == [f"Publish {second.name}", f"Publish {first.name}"]


def test_the_hub_says_how_long_to_wait(room: Room) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(COMMIT, status=429, headers={"Retry-After": "17"}))
    room.push(version)
    assert room.waited == [17.0]
    assert once(room, version.name)


def test_uploads_wait_as_the_hub_says(room: Room, lib: list[float]) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault("/preupload/", status=429, headers={"Retry-After": "5"}))
    room.hub.faults.plan(Fault("PUT /storage/", status=500))
    room.push(version)
    assert lib == [6.0, 1.0]  # the library adds a second
    assert once(room, version.name)


def test_a_hub_that_stays_down_fails_the_push_with_nothing_done(room: Room) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(COMMIT, status=500, times=100))
    operation = room.queue_push(version)
    with pytest.raises(Unavailable) as caught:
        room.run(operation)
    assert caught.value.reason == "HUB_UNAVAILABLE"
    assert room.sync(operation).state is SyncState.FAILED
    assert room.sync(operation).reason == "HUB_UNAVAILABLE"
    assert room.waited == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert room.hub.commits(REPO) == []
    room.hub.faults.clear()
    assert room.push(version)["changed"]


@pytest.mark.parametrize(
    "pattern",
    ["GET /api/models/org/mini/refs", "POST /api/repos/create", "POST /api/models/org/mini/tag/"],
)
@pytest.mark.parametrize("late", [False, True])
def test_every_other_call_may_fail_too(room: Room, pattern: str, late: bool) -> None:
    version = room.publish()
    room.hub.faults.plan(Fault(pattern, status=500, late=late))
    result = room.push(version, tag="v1")
    assert room.hub.faults.struck == 1
    assert once(room, version.name)
    assert room.hub.store.repos["models", REPO].tags == {"v1": result["commit"]}


def test_a_branch_that_was_made_though_the_answer_was_lost(room: Room) -> None:
    room.push(room.publish())
    room.hub.faults.plan(Fault("POST /api/models/org/mini/branch/", status=500, late=True))
    version = room.publish(dimensions=8)
    assert room.push(version, branch="next")["changed"]
    assert len(room.hub.commits(REPO, "next")) == 2


def test_long_lists_come_in_pages(room: Room) -> None:
    version = room.publish()
    room.hub.page = 2
    room.push(version)
    room.hub.requests.clear()
    assert not room.push(version)["changed"]
    assert room.hub.calls("cursor=") >= 3
    room.hub.faults.plan(Fault(COMMIT, status=500, late=True))
    for dimensions in (4, 8, 12, 16):
        room.push(room.publish(dimensions=dimensions))
    assert len(room.hub.commits(REPO)) == 5


def test_a_cancelled_push_stops_and_leaves_nothing_half_done(room: Room) -> None:
    version = room.publish()
    operation = room.queue_push(version)

    def cancel() -> None:
        if room.hub.calls("/preupload/"):
            raise CancelRequested(operation)

    with pytest.raises(CancelRequested):
        room.run(operation, on_check=cancel)
    assert room.hub.commits(REPO) == []


def test_a_stranger_who_owns_the_lease_by_now_stops_the_commit(room: Room) -> None:
    """What cannot be undone comes after the question whether this attempt still counts."""
    version = room.publish()
    operation = room.queue_push(version)

    def steal() -> None:
        if room.hub.calls("/preupload/") and room.operation(operation).attempt == 1:
            assert room.store.claim("another", 60) is not None

    from stillroom_server.operations.model import LeaseLost

    with pytest.raises(LeaseLost):
        room.run(operation, on_check=steal)
    assert room.hub.commits(REPO) == []
